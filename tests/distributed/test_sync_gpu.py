"""Our SyncBN on the CPU against torch's on a GPU, which two processes share."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.gpu
@pytest.mark.slow
def test_ours_equals_torchs(tmp_path: Path, torchrun: Run) -> None:
    done = torchrun(str(Path(__file__).with_name("sync_layer.py")), str(tmp_path), "cuda:0")
    assert done.returncode == 0, done.stdout
    for rank in range(2):
        found = torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True)
        for name, value in found["ours"].items():
            torch.testing.assert_close(found["device"][name], value, rtol=1e-5, atol=1e-6, msg=name)
