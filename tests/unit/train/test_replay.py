"""A step that went bad, made again; a run fed NaN is in test_bad_steps.py."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from detco_core.contract.config import DeviceConfig
from detco_core.contract.errors import CheckpointError, NumericsError
from detco_core.contract.jobs import PretrainJob
from detco_core.runtime.checkpoint import read_tensors
from detco_core.train.replay import replay, views_of
from detco_core.train.trainer import Trainer
from detco_core.views.pipeline import Views


@pytest.mark.slow
def test_a_learning_rate_beyond_all_bounds_is_replayed(
    tiny_job: Callable[..., PretrainJob],
    trainer_of: Callable[..., AbstractContextManager[Trainer]],
    tmp_path: Path,
) -> None:
    job = tiny_job(optim__lr=1e30)
    with trainer_of(job) as trainer, pytest.raises(NumericsError, match="at step 2: "):
        trainer.train()
    path = tmp_path / "job" / "replay" / "step-00000002.pt"
    made_again = replay(path, DeviceConfig(kind="cpu"))
    assert made_again.step == 2
    assert made_again.first_bad is not None
    assert made_again.first_bad.startswith("query.backbone.")
    assert made_again.loss != made_again.loss
    content = read_tensors(path)
    kept, remade = Views(**content["views"]), views_of({**content, "views": None}, job, local=True)
    for one, other in zip(kept, remade, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


def test_another_file_is_not_replayed(tmp_path: Path) -> None:
    torch.save({"format": 99}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="is not a step kept for replay"):
        replay(tmp_path / "other.pt")
