"""Networks of timm, tapped, against timm's own with hooks."""

import copy
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from detco_core.contract.errors import InvalidDocument
from detco_core.nets.batch_norm import SplitBatchNorm2d, split
from detco_core.nets.timm import TimmBackbone, make_timm

NAMES = ("convnext_atto", "resnet18")
HEADS = ("head.", "fc.")


@cache
def made(name: str) -> TimmBackbone:
    torch.manual_seed(0)
    return make_timm(name, 3).eval()


@cache
def theirs(name: str) -> nn.Module:
    """timm's whole network with the same weights."""
    network: nn.Module = timm.create_model(name).eval()
    keys = network.load_state_dict(made(name).state_dict(), strict=False)
    assert keys.unexpected_keys == []
    assert all(key.startswith(HEADS) for key in keys.missing_keys)
    return network


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (33, 40)])
@pytest.mark.parametrize("name", NAMES)
def test_equals_timm_at_every_stage(name: str, size: tuple[int, int]) -> None:
    network, image = theirs(name), torch.randn(1, 3, *size)
    expected: list[Tensor] = []
    stages = ("stages.0", "stages.1", "stages.2", "stages.3")
    stages = stages if name == "convnext_atto" else ("layer1", "layer2", "layer3", "layer4")
    hooks = [network.get_submodule(s).register_forward_hook(lambda _, __, out: expected.append(out)) for s in stages]
    with torch.no_grad():
        network(image)
        maps = made(name)(image)
    for hook in hooks:
        hook.remove()
    for found, reference in zip(maps, expected, strict=True):
        assert torch.equal(found, reference)


@pytest.mark.parametrize(
    ("name", "channels"), [("convnext_atto", (40, 80, 160, 320)), ("resnet18", (64, 128, 256, 512))]
)
def test_channels_and_strides_are_the_networks(name: str, channels: tuple[int, ...]) -> None:
    backbone = made(name)
    assert backbone.architecture == f"timm/{name}"
    assert backbone.channels == channels
    assert backbone.strides == (4, 8, 16, 32)
    with torch.no_grad():
        maps = backbone(torch.randn(1, 3, 64, 96))
    assert [m.shape[1:] for m in maps] == [(c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32), strict=True)]


@pytest.mark.parametrize("name", NAMES)
def test_state_has_the_names_of_timm_without_the_classifier(name: str) -> None:
    expected = {key for key in theirs(name).state_dict() if not key.startswith(HEADS)}
    assert set(made(name).state_dict()) == expected


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_idle_weights_are_those_without_gradient(name: str, depth: int) -> None:
    backbone = copy.deepcopy(made(name))
    maps = backbone(torch.randn(1, 3, 64, 64), depth=depth)
    assert len(maps) == depth
    sum(m.sum() for m in maps).backward()
    unused = {id(weight) for weight in backbone.parameters() if weight.grad is None}
    assert {id(weight) for weight in backbone.idle(depth)} == unused
    backbone.requires_grad_(False)
    assert {id(weight) for weight in backbone.idle(depth)} == unused
    assert bool(unused) == (depth < 4)


def test_loads_inside_a_larger_module_and_survives_a_copy() -> None:
    one = nn.ModuleDict({"backbone": copy.deepcopy(made("resnet18")), "head": nn.Linear(2, 2)})
    other = copy.deepcopy(one)
    for tensor in other.state_dict().values():
        tensor.zero_()
    state = one.state_dict()
    assert "backbone.layer1.0.conv1.weight" in state
    other.load_state_dict(state)
    assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items())


def test_what_does_not_fit_is_named() -> None:
    state = made("resnet18").state_dict()
    state["layer9.weight"] = state.pop("conv1.weight")
    with pytest.raises(RuntimeError, match=r"(?s)Missing.*conv1\.weight.*Unexpected.*layer9\.weight"):
        copy.deepcopy(made("resnet18")).load_state_dict(state)


def test_its_batch_norm_can_be_split() -> None:
    backbone = copy.deepcopy(made("resnet18"))
    before = set(backbone.state_dict())
    split(backbone, 2)
    kinds = {type(m) for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)}
    assert kinds == {SplitBatchNorm2d}
    assert set(backbone.state_dict()) == before


@pytest.mark.parametrize(
    ("name", "side", "fits"), [("convnext_atto", 31, False), ("convnext_atto", 32, True), ("resnet18", 1, True)]
)
def test_knows_what_is_too_small(name: str, side: int, fits: bool) -> None:
    assert made(name).fits(side) == fits


@pytest.mark.parametrize("channels", [1, 4])
def test_takes_other_channels(channels: int) -> None:
    backbone = make_timm("resnet18", channels)
    assert backbone.in_channels == channels
    assert backbone.training
    with torch.no_grad():
        assert backbone.eval()(torch.randn(1, channels, 32, 32), depth=1)[0].shape == (1, 64, 8, 8)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("convnext_atoo", r"is no network of timm .*; close to it: timm/convnext_atto"),
        ("vit_tiny_patch16_224", r"has no four stages of growing stride \(timm says: \[16, 16, 16, 16\]\)"),
        ("efficientformer_l1", "does not give its stages for an image of 64 x 96 pixels"),
    ],
)
def test_what_cannot_be_tapped_is_refused(name: str, reason: str) -> None:
    with torch.device("meta"), pytest.raises(InvalidDocument, match=rf"method\.backbone: timm/{name} {reason}"):
        make_timm(name, 3)


def test_maps_other_than_described_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    create: Callable[..., Any] = timm.create_model

    def boastful(*args: Any, **options: Any) -> Any:
        network = create(*args, **options)
        network.feature_info[3]["num_chs"] = 1000
        return network

    monkeypatch.setattr(timm, "create_model", boastful)
    with torch.device("meta"), pytest.raises(InvalidDocument, match=r"gives maps of shapes .*160.* where timm says"):
        make_timm("convnext_atto", 3)


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InvalidDocument, match=r"timm/resnet18 needs timm: install it, e\.g\. as detco\[timm\]"):
        make_timm("resnet18", 3)
