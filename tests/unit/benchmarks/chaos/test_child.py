import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.chaos.child import LEDGER, STEP_SECONDS, Model, weights_after
from control.storage.base import file_digest
from detco_core.contract.events import EXIT_STOPPED, Event, decode

ROOT = Path(__file__).parents[4]


def attempt(folder: Path, steps: int, resume: Path | None = None, step_seconds: str = "0") -> "subprocess.Popen[bytes]":
    """The stand-in job of seed 7 in a folder of its own, saving every three steps."""
    folder.mkdir()
    job: dict[str, Any] = {
        "run": "run_1",
        "dataset": {"name": "stand-in@1"},
        "config": {"seed": 7, "train": {"steps": steps, "checkpoint_every": 3}},
        "resume": None if resume is None else str(resume),
        "resume_sha256": None if resume is None else file_digest(resume),
    }
    (folder / "job.json").write_text(json.dumps(job))
    environment = {
        "PYTHONPATH": str(ROOT),
        STEP_SECONDS: step_seconds,
        LEDGER: str(folder / "ledger"),
        "DETCO_FENCE": "4",
    }
    command = [sys.executable, "-m", "benchmarks.chaos.child", "pretrain"]
    return subprocess.Popen(command, cwd=folder, env=environment)


def events(folder: Path) -> list[Event]:
    return [decode(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def test_steps_are_given_by_the_seed() -> None:
    assert weights_after(7, 5) == weights_after(7, 5)
    assert weights_after(7, 5) != weights_after(8, 5)
    model = Model(7)
    losses = [model.advance() for _ in range(60)]
    assert losses[-1] < losses[0]


def test_what_is_saved_goes_on_bit_for_bit() -> None:
    first, second = Model(7), Model(7)
    for _ in range(4):
        first.advance()
    second.load(first.dump())
    for _ in range(3):
        second.advance()
    assert second.weights.tobytes() == weights_after(7, 7)


@pytest.mark.slow
def test_a_job_that_is_stopped_saves_and_the_next_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    stopped = attempt(tmp_path / "1", steps=4000, step_seconds="0.01")
    while not (tmp_path / "1" / "ledger").exists() or not (tmp_path / "1" / "ledger").read_text():
        assert stopped.poll() is None
        time.sleep(0.01)
    stopped.terminate()
    assert stopped.wait(120) == EXIT_STOPPED
    told = events(tmp_path / "1")
    assert (told[0].type, told[-2].type, told[-1].type) == ("started", "checkpoint", "stopped")
    saved = tmp_path / "1" / told[-2].body.path  # type: ignore[union-attr]  # a checkpoint
    reached = told[-1].body.step  # type: ignore[union-attr]  # where it stopped
    assert attempt(tmp_path / "2", steps=reached + 5, resume=saved).wait(120) == 0
    told = events(tmp_path / "2")
    assert told[0].body.resumed_from == reached  # type: ignore[union-attr]  # it was started
    assert told[-1].type == "finished"
    assert (tmp_path / "2" / "weights").read_bytes() == weights_after(7, reached + 5)
    assert {event.body.values["fence"] for event in told if event.type == "metrics"} == {4.0}  # type: ignore[union-attr]  # they are metrics
    assert (tmp_path / "2" / "ledger").read_text().splitlines()[-1].split()[:2] == ["run_1", "4"]
