"""Made-up photos, and training as a person starts it: one process, one job file."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from detco_core.contract.config import RunConfig, override
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.events import Body, decode
from detco_core.contract.jobs import PretrainJob
from detco_core.contract.presets import preset
from detco_core.contract.reader import plain
from detco_core.data.synthetic import write_photos

ROOT = Path(__file__).resolve().parents[2]
SIGNALLED = """
import os, sys
from detco_core.__main__ import main
from detco_core.contract.events import Progress
from detco_core.runtime.reporter import Reporter
number, *arguments = sys.argv[1:]
emit = Reporter.emit
def emit_and_signal(reporter, body):
    emit(reporter, body)
    if isinstance(body, Progress):
        Reporter.emit = emit
        os.kill(os.getpid(), int(number))
Reporter.emit = emit_and_signal
sys.exit(main(arguments))
"""
"""`python -m detco_core`, which has a signal at its first step: from outside it may come when all steps are done."""


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty photos; a manifest is not needed, the folder is listed."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 40)
    return folder


@pytest.fixture(scope="session")
def tiny_config() -> RunConfig:
    """The whole method, twenty steps of a fraction of a second each."""
    small = {
        "train.batch_size": 4,
        "train.checkpoint_every": 10,
        "data.workers": 0,
        "data.decode_short_side": 64,
        "views.global_size": 32,
        "views.local_size": 48,
        "views.patch_size": 16,
        "method.queue_size": 32,
        "device.kind": "cpu",
        "device.threads": 2,
    }
    return override(preset("smoke"), small)


@pytest.fixture(scope="session")
def start(photos: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start `python -m detco_core pretrain` in a folder, with `arguments` after the job file.

    With a `number`, it has that signal at its first step.
    """

    def begin(folder: Path, config: RunConfig, *arguments: str, number: int | None = None) -> subprocess.Popen[str]:
        folder.mkdir(parents=True, exist_ok=True)
        dataset = DatasetRef(name="photos@1", kind="images", root=str(photos))
        job = PretrainJob(folder=str(folder), config=config, dataset=dataset)
        (folder / "job.json").write_text(json.dumps(plain(job)))
        program = ["-m", "detco_core"] if number is None else ["-c", SIGNALLED, str(int(number))]
        return subprocess.Popen(
            [sys.executable, *program, "pretrain", str(folder / "job.json"), *arguments],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return begin


@pytest.fixture(scope="session")
def train(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., Path]:
    """Train to the end; returns the folder."""

    def run(folder: Path, config: RunConfig, *arguments: str) -> Path:
        process = start(folder, config, *arguments)
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
        return folder

    return run


@pytest.fixture(scope="session")
def told() -> Callable[[Path], list[Body]]:
    """What the events file in a folder holds so far."""

    def read(folder: Path) -> list[Body]:
        path = folder / "events.jsonl"
        if not path.exists():
            return []
        lines = path.read_text().splitlines(keepends=True)
        return [decode(line).body for line in lines if line.endswith("\n")]

    return read
