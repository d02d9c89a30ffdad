"""Backbones out of checkpoints, and digests that know equal weights."""

import hashlib
import struct
from pathlib import Path

import pytest
import torch
from torch import Tensor

from detco_core.contract.config import RunConfig, override
from detco_core.contract.errors import CheckpointError
from detco_core.contract.presets import preset
from detco_core.nets.backbone import StageBackbone, make_backbone
from detco_core.nets.weights import QUERY_BACKBONE, backbone_from_checkpoint, state_digest
from detco_core.runtime.checkpoint import CheckpointInfo, SavedFile, save


def write(path: Path, config: RunConfig, backbone: StageBackbone) -> SavedFile:
    info = CheckpointInfo(
        step=20,
        epoch=2.0,
        steps=20,
        steps_per_epoch=10,
        config=config,
        dataset="photos@1",
        dataset_digest=None,
        world_size=1,
        software={},
    )
    method = {QUERY_BACKBONE + name: value for name, value in backbone.state_dict().items()}
    method |= {name.replace("query", "key"): torch.zeros_like(value) for name, value in method.items()}
    return save(path, info, {"method": method})


def test_the_query_backbone_comes_out(tmp_path: Path) -> None:
    backbone = make_backbone("resnet18")
    saved = write(tmp_path / "step.pt", preset("smoke"), backbone)
    loaded, info = backbone_from_checkpoint(saved.path, saved.sha256)
    assert info.step == 20
    assert info.config == preset("smoke")
    assert not loaded.training
    assert all(torch.equal(value, backbone.state_dict()[name]) for name, value in loaded.state_dict().items())


def test_channels_are_those_of_the_run(tmp_path: Path) -> None:
    config = override(preset("smoke"), {"views.channels": 4})
    saved = write(tmp_path / "step.pt", config, make_backbone("resnet18", 4))
    assert backbone_from_checkpoint(saved.path)[0].in_channels == 4


def test_outlives_its_file(tmp_path: Path) -> None:
    saved = write(tmp_path / "step.pt", preset("smoke"), make_backbone("resnet18"))
    loaded, _ = backbone_from_checkpoint(saved.path)
    before = state_digest(loaded.state_dict())
    saved.path.write_bytes(b"\0" * saved.bytes)
    assert state_digest(loaded.state_dict()) == before


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    config = override(preset("smoke"), {"method.backbone": "resnet50"})
    saved = write(tmp_path / "step.pt", config, make_backbone("resnet18"))
    with pytest.raises(CheckpointError, match=r"step\.pt do not fit its config"):
        backbone_from_checkpoint(saved.path)


@pytest.fixture
def state() -> dict[str, Tensor]:
    return {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(7), "c": torch.ones(1, 2, 2, 2).bfloat16()}


def test_equal_weights_equal_digest(state: dict[str, Tensor]) -> None:
    other = {name: value.clone() for name, value in reversed(state.items())}
    other["c"] = other["c"].contiguous(memory_format=torch.channels_last)
    other["b"] = torch.arange(6.0).reshape(2, 3).T.contiguous().T
    assert state_digest(state) == state_digest(other)
    assert state_digest(state).startswith("sha256:")


@pytest.mark.parametrize("change", ["value", "name", "shape", "dtype", "missing", "sign of zero"])
def test_other_weights_other_digest(state: dict[str, Tensor], change: str) -> None:
    before = state_digest(state)
    changed: dict[str, dict[str, Tensor]] = {
        "value": {**state, "b": state["b"] + torch.finfo().eps},
        "name": {**{k: v for k, v in state.items() if k != "a"}, "aa": state["a"]},
        "shape": {**state, "b": state["b"].reshape(3, 2)},
        "dtype": {**state, "a": state["a"].int()},
        "missing": {k: v for k, v in state.items() if k != "a"},
        "sign of zero": {**state, "b": state["b"] * torch.tensor([[-1.0], [1.0]])},
    }
    assert state_digest(changed[change]) != before


def test_digest_is_over_names_types_shapes_and_little_endian_bytes(state: dict[str, Tensor]) -> None:
    """It is written into manifests: a change of the recipe would make known weights look new."""
    expected = hashlib.sha256()
    expected.update(b"a\0int64\0\0" + struct.pack("<q", 7))
    expected.update(b"b\0float32\x002,3\0" + struct.pack("<6f", *range(6)))
    expected.update(b"c\0bfloat16\x001,2,2,2\0" + b"\x80\x3f" * 8)
    assert state_digest(state) == "sha256:" + expected.hexdigest()
