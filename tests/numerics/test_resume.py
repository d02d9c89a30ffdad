"""A run that was stopped and continued is the run that was not, tensor for tensor."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from detco_core.contract.config import RunConfig, override
from detco_core.contract.events import EXIT_STOPPED, Body, Progress, Stopped
from detco_core.runtime.checkpoint import load

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
    assert {"method", "optimizer", "scaler", "random"} == state.keys()
    assert differences(state, final(tmp_path)) == []


def test_a_difference_would_be_found(straight: Path) -> None:
    half = load(straight / "checkpoints" / "step-00000010.pt").state
    found = differences(half, final(straight))
    assert "/method/query.backbone.conv1.weight" in found
    assert "/method/queues.globals" in found


def interrupted(folder: Path, process: subprocess.Popen[str], number: signal.Signals, told: Told) -> tuple[Path, str]:
    """Signal the process once it trains; the checkpoint it leaves, and what it said."""
    deadline = time.monotonic() + 120
    while not any(isinstance(event, Progress) for event in told(folder)):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == EXIT_STOPPED, output
    stopped = told(folder)[-1]
    assert isinstance(stopped, Stopped)
    assert 0 < stopped.step < 20
    return folder / "checkpoints" / f"step-{stopped.step:08d}.pt", output


def test_after_sigterm_the_rest_follows(
    tmp_path: Path, straight: Path, start: Start, train: Train, told: Told, tiny_config: RunConfig
) -> None:
    config = override(tiny_config, {"data.workers": 1})
    checkpoint, _ = interrupted(tmp_path, start(tmp_path, config), signal.SIGTERM, told)
    train(tmp_path, config, "--resume", str(checkpoint))
    assert differences(final(straight), final(tmp_path)) == []


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path, start: Start, told: Told, tiny_config: RunConfig) -> None:
    checkpoint, output = interrupted(tmp_path, start(tmp_path, tiny_config), signal.SIGINT, told)
    assert checkpoint.is_file()
    assert f"--resume {checkpoint}" in output
