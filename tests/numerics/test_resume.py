"""A run that was stopped and continued is the run that was not, tensor for tensor."""

import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from detco_core.contract.config import RunConfig, override
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.events import EXIT_STOPPED, Body, Finished, Metrics, Stopped
from detco_core.contract.jobs import PretrainJob
from detco_core.runtime.checkpoint import checkpoint_path, load
from detco_core.runtime.reporter import Reporter
from detco_core.runtime.stop import StopRequest
from detco_core.train.job import run

Train = Callable[..., Path]
Start = Callable[..., subprocess.Popen[str]]
Told = Callable[[Path], list[Body]]

pytestmark = pytest.mark.slow


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two trees of tensors and plain values differ, to the last bit."""
    if isinstance(one, torch.Tensor):
        same = isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
        return [] if same else [path]
    if type(one) is not type(other):
        return [path]
    if isinstance(one, dict):
        keys = list(one) if one.keys() == other.keys() else []
        return (
            [d for key in keys for d in differences(one[key], other[key], f"{path}/{key}")]
            if keys or not one
            else [path]
        )
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [path]
        pairs = enumerate(zip(one, other, strict=True))
        return [d for n, (a, b) in pairs for d in differences(a, b, f"{path}/{n}")]
    return [] if one == other else [path]


def final(folder: Path) -> dict[str, Any]:
    checkpoint = load(folder / "checkpoints" / "step-00000020.pt")
    assert checkpoint.info.step == 20
    return checkpoint.state


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, train: Train, tiny_config: RunConfig) -> Path:
    """Twenty steps without a stop, loading in the training process."""
    return train(tmp_path_factory.mktemp("straight"), tiny_config)


@pytest.mark.parametrize("workers", [0, 2])
def test_ten_and_ten_are_twenty(
    tmp_path: Path, straight: Path, train: Train, tiny_config: RunConfig, workers: int
) -> None:
    half = straight / "checkpoints" / "step-00000010.pt"
    train(tmp_path, override(tiny_config, {"data.workers": workers}), "--resume", str(half))
    state = final(straight)
    assert {"method", "optimizer", "scaler", "random", "watch"} == state.keys()
    assert differences(state, final(tmp_path)) == []


def test_a_difference_would_be_found(straight: Path) -> None:
    half = load(straight / "checkpoints" / "step-00000010.pt").state
    found = differences(half, final(straight))
    assert "/method/query.backbone.conv1.weight" in found
    assert "/method/queues.globals" in found


def interrupted(folder: Path, process: subprocess.Popen[str], told: Told) -> tuple[Path, str]:
    """The checkpoint that a process leaves which has a signal, and what it said."""
    output, _ = process.communicate(timeout=240)
    assert process.returncode == EXIT_STOPPED, output
    stopped = told(folder)[-1]
    assert isinstance(stopped, Stopped)
    assert 0 < stopped.step < 20
    return folder / "checkpoints" / f"step-{stopped.step:08d}.pt", output


def test_after_sigterm_the_rest_follows(
    tmp_path: Path, straight: Path, start: Start, train: Train, told: Told, tiny_config: RunConfig
) -> None:
    config = override(tiny_config, {"data.workers": 1})
    checkpoint, _ = interrupted(tmp_path, start(tmp_path, config, number=signal.SIGTERM), told)
    train(tmp_path, config, "--resume", str(checkpoint))
    assert differences(final(straight), final(tmp_path)) == []


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path, start: Start, told: Told, tiny_config: RunConfig) -> None:
    checkpoint, output = interrupted(tmp_path, start(tmp_path, tiny_config, number=signal.SIGINT), told)
    assert checkpoint.is_file()
    assert f"--resume {checkpoint}" in output


STEPS = 6


class StoppingReporter(Reporter):
    """Asks its job to stop at a step."""

    def __init__(self, folder: Path, stop: StopRequest, at: int) -> None:
        super().__init__(folder)
        self._stop = stop
        self._at = at

    def emit(self, body: Body) -> None:
        super().emit(body)
        if isinstance(body, Metrics) and body.step == self._at:
            self._stop.requested = True


@pytest.fixture(scope="module")
def piece(photos: Path, tiny_config: RunConfig) -> Iterator[Callable[..., Path]]:
    """Train in this process to step `until`, from a checkpoint on if one is given; returns the last checkpoint."""
    threads = torch.get_num_threads()

    def train_on(folder: Path, until: int, workers: int, resume: Path | None = None) -> Path:
        small = {
            "train.steps": STEPS,
            "train.accumulate": 2,
            "train.checkpoint_every": 100,
            "method.momentum_schedule": "cosine",
            "data.workers": workers,
            "device.threads": threads,
        }
        job = PretrainJob(
            folder=str(folder),
            config=override(tiny_config, small),
            dataset=DatasetRef(name="photos@1", kind="images", root=str(photos)),
            resume=None if resume is None else str(resume),
        )
        stop = StopRequest()
        with StoppingReporter(folder, stop, until) as reporter:
            ended = run(job, reporter, stop)
        assert ended == (Finished(step=STEPS) if until == STEPS else Stopped(step=until))
        return checkpoint_path(folder, until)

    yield train_on
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, piece: Callable[..., Path]) -> Path:
    """The last checkpoint of the run that nobody stops."""
    return piece(tmp_path_factory.mktemp("undisturbed"), STEPS, 0)


@pytest.mark.parametrize("seed", [0, 1])
def test_stopped_anywhere_however_often_it_is_the_run_that_was_not(
    tmp_path: Path, piece: Callable[..., Path], undisturbed: Path, seed: int
) -> None:
    """Stopped at random steps and continued by another number of loader processes each time."""
    rng = random.Random(seed)
    stops = sorted(rng.sample(range(1, STEPS), k=2))
    loaders = rng.sample([0, 2, rng.choice([0, 2])], k=3)
    last = None
    for number, (until, workers) in enumerate(zip([*stops, STEPS], loaders, strict=True)):
        last = piece(tmp_path / str(number), until, workers, last)
    assert last is not None
    assert differences(load(undisturbed).state, load(last).state) == [], (stops, loaders)
