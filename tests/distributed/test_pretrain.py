"""`python -m detco_core pretrain` in two processes: one story, one set of files, and a resume that continues it."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from detco_core.contract.config import RunConfig, override
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.events import Body, CheckpointSaved, Finished, Metrics, Started, Stopped, decode
from detco_core.contract.jobs import PretrainJob
from detco_core.contract.presets import preset
from detco_core.contract.reader import plain
from detco_core.data.synthetic import write_photos
from detco_core.runtime.checkpoint import load

pytestmark = pytest.mark.slow
Run = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> PretrainJob:
    folder = tmp_path_factory.mktemp("two")
    write_photos(folder / "photos", 24, size=(64, 48))
    small = {
        "train.steps": 6,
        "train.batch_size": 8,
        "train.checkpoint_every": 3,
        "data.workers": 0,
        "views.global_size": 32,
        "views.local_size": 48,
        "views.patch_size": 16,
        "method.queue_size": 16,
        "method.local_head": "pirl",
        "device.kind": "cpu",
    }
    config: RunConfig = override(preset("smoke"), small)
    dataset = DatasetRef(name="photos@1", kind="images", root=str(folder / "photos"))
    return PretrainJob(folder=str(folder / "run"), config=config, dataset=dataset)


def write(job: PretrainJob) -> str:
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(json.dumps(plain(job)))
    return str(folder / "job.json")


def told(folder: str) -> list[Body]:
    path = Path(folder) / "events.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [decode(line).body for line in lines if line.endswith("\n")]


@pytest.fixture(scope="module")
def finished(job: PretrainJob, torchrun: Run) -> list[Body]:
    done = torchrun("-m", "detco_core", "pretrain", write(job))
    assert done.returncode == 0, done.stdout
    return told(job.folder)


def test_rank_0_tells_one_story(finished: list[Body]) -> None:
    assert isinstance(finished[0], Started)
    assert finished[0].environment["world_size"] == 2
    assert "per process, over 4 of 8 images, keys shuffled" in finished[0].environment["batch_norm"]
    assert [event.step for event in finished if isinstance(event, Metrics)] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in finished if isinstance(event, CheckpointSaved)] == [3, 6]
    assert finished[-1] == Finished(step=6)


def test_resuming_gives_the_same_weights(finished: list[Body], job: PretrainJob, torchrun: Run) -> None:
    half = Path(job.folder) / "checkpoints" / "step-00000003.pt"
    rest = dataclasses.replace(job, folder=job.folder + "-rest", resume=str(half))
    done = torchrun("-m", "detco_core", "pretrain", write(rest))
    assert done.returncode == 0, done.stdout
    whole, again = (load(Path(folder) / "checkpoints" / "step-00000006.pt") for folder in (job.folder, rest.folder))
    assert again.info.world_size == 2
    assert len(again.state["random"]) == 2
    for name, value in whole.state["method"].items():
        assert torch.equal(value, again.state["method"][name]), name


def test_a_signal_to_one_process_stops_both_at_the_same_step(job: PretrainJob) -> None:
    longer = dataclasses.replace(job, folder=job.folder + "-stop", config=override(job.config, {"train.steps": 500}))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    with subprocess.Popen(
        [*command, "-m", "detco_core", "pretrain", write(longer)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as launcher:
        while not any(isinstance(event, Metrics) for event in told(longer.folder)):
            assert launcher.poll() is None
            time.sleep(0.05)
        os.kill(_a_rank(launcher.pid), signal.SIGTERM)
        launcher.wait(120)
    stopped = told(longer.folder)[-1]
    assert isinstance(stopped, Stopped)
    assert load(Path(longer.folder) / "checkpoints" / f"step-{stopped.step:08d}.pt").info.step == stopped.step


def _a_rank(launcher: int) -> int:
    """The process id of the last of a launcher's children."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return int(children[-1])
