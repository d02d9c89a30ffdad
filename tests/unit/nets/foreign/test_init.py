"""`read_foreign`: every format it claims, from file to features."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision import models

from detco_core.contract.errors import InvalidDocument, WeightsError
from detco_core.nets.foreign import backbone_from_weights, read_foreign
from detco_core.nets.foreign.detectron2 import to_detectron2

State = dict[str, Tensor]
Save = Callable[..., Path]


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}


WRITERS: dict[str, Callable[[State, State], Any]] = {
    "detco": lambda backbone, _: {"state_dict": backbone},
    "moco": lambda _, whole: {"arch": "resnet18", "state_dict": prefixed(whole, "module.encoder_q.")},
    "openselfsup": lambda backbone, _: {"state_dict": prefixed(backbone, "backbone."), "meta": {"epoch": 200}},
    "torchvision": lambda _, whole: whole,
    "mmdetection": lambda backbone, _: {
        "state_dict": prefixed(backbone, "backbone.") | {"rpn_head.rpn_conv.weight": torch.ones(1)}
    },
    "checkpoint": lambda backbone, _: {
        "format": 1,
        "info": {},
        "state": {"method": prefixed(backbone, "query.backbone.") | prefixed(backbone, "key.backbone.")},
    },
}


@pytest.mark.parametrize("format", WRITERS)
def test_torch_files_of_every_format(format: str, network: State, backbone_state: State, saved: Save) -> None:
    path = saved(WRITERS[format](backbone_state, network))
    tensors, found, report = read_foreign(path, "resnet18")
    assert found == format
    assert report.missing == ()
    assert all(torch.equal(tensors[name], value) for name, value in backbone_state.items())
    again, named, _ = read_foreign(path, "resnet18", found)
    assert (named, list(again)) == (found, list(tensors))


@pytest.mark.parametrize("prefix", ["", "backbone.bottom_up."])
def test_a_detectron2_pickle(prefix: str, backbone_state: State, tmp_path: Path) -> None:
    path = tmp_path / "detco.pkl"
    model = {f"{prefix}{to_detectron2(name)}": value.numpy() for name, value in backbone_state.items()}
    path.write_bytes(pickle.dumps({"model": model, "__author__": "x", "matching_heuristics": True}))
    tensors, found, report = read_foreign(path, "resnet18")
    assert (found, report.missing, report.unexpected) == ("detectron2", (), ())
    assert all(torch.equal(tensors[name], value) for name, value in backbone_state.items())
    assert read_foreign(path, "resnet18", "detco")[1] == "detco"


def test_a_safetensors_file_of_timm(network: State, backbone_state: State, tmp_path: Path) -> None:
    save_file({name: value.contiguous() for name, value in network.items()}, tmp_path / "model.safetensors")
    tensors, found, report = read_foreign(tmp_path / "model.safetensors", "resnet18")
    assert (found, report.unexpected) == ("timm", ("fc.bias", "fc.weight"))
    assert all(torch.equal(tensors[name], value) for name, value in backbone_state.items())


def test_a_training_file_of_a_re_implementation(backbone_state: State, saved: Save) -> None:
    """Its encoder registers each stage twice and has heads and queues beside it."""
    twice = {name.replace("layer1", "layers.0"): value for name, value in backbone_state.items() if "layer1" in name}
    others = {"global_mlps.0.0.weight": torch.ones(1), **twice}
    content = {"state_dict": prefixed(backbone_state | others, "module.encoder_q.") | {"module.queue": torch.ones(1)}}
    tensors, found, report = read_foreign(saved(content), "resnet18")
    assert found == "moco"
    assert report.missing == ()
    assert set(report.unexpected) == {*prefixed(others, "module.encoder_q."), "module.queue"}
    assert all(torch.equal(tensors[name], value) for name, value in backbone_state.items())


def test_a_file_that_is_not_laid_out_as_named_is_refused(network: State, saved: Save) -> None:
    with pytest.raises(
        WeightsError, match=r"holds no resnet18 laid out as moco: none of its 122 keys is known \(conv1"
    ):
        read_foreign(saved(network), "resnet18", "moco")
    with pytest.raises(WeightsError, match="holds no resnet18: none of its 1 keys is known"):
        read_foreign(saved({"x": torch.ones(1)}), "resnet18")


def test_a_prefix_that_is_not_known_is_named(network: State, saved: Save) -> None:
    with pytest.raises(WeightsError, match=r"its tensors lie under model\.a\. and model\.b\.: save those of one alone"):
        read_foreign(saved(prefixed(network, "model.a.") | prefixed(network, "model.b.")), "resnet18")


def test_an_unknown_architecture_is_refused_before_the_file_is_looked_at(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument, match="vgg16"):
        read_foreign(tmp_path / "nowhere", "vgg16")


def test_a_backbone_is_built_whole_without_touching_random_numbers(network: State, saved: Save) -> None:
    path = saved(network)
    before = torch.get_rng_state()
    backbone = backbone_from_weights(path, "resnet18")
    assert torch.equal(torch.get_rng_state(), before)
    assert not backbone.training
    theirs = models.resnet18()
    theirs.load_state_dict(network)
    theirs.fc = torch.nn.Identity()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(images)[-1].mean((2, 3)), theirs.eval()(images))


def test_a_backbone_with_keys_missing_is_refused(network: State, saved: Save) -> None:
    network = {name: value for name, value in network.items() if name != "layer4.1.bn2.bias"}
    with pytest.raises(WeightsError, match=r"lacks 1 keys of resnet18 \(layer4\.1\.bn2\.bias\)"):
        backbone_from_weights(saved(network), "resnet18")


def test_a_network_of_timm(saved: Save, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        network: Any = timm.create_model("convnext_atto", in_chans=2)
    state = network.state_dict()
    path = saved(state)
    tensors, found, report = read_foreign(path, "timm/convnext_atto", in_channels=2)
    assert (found, report.missing) == ("timm", ())
    assert report.unexpected == ("head.norm.weight", "head.norm.bias", "head.fc.weight", "head.fc.bias")
    assert all(torch.equal(tensor, state[name]) for name, tensor in tensors.items())
    with pytest.raises(WeightsError, match=r"stem\.0\.weight is \[40, 2, 4, 4\], not \[40, 3, 4, 4\]"):
        read_foreign(path, "timm/convnext_atto")
    images = torch.rand(1, 2, 64, 64)
    with torch.inference_mode():
        expected = network.eval().forward_intermediates(images, intermediates_only=True)
        got = backbone_from_weights(path, "timm/convnext_atto", in_channels=2)(images)
        for mine, theirs in zip(got, expected, strict=True):
            torch.testing.assert_close(mine, theirs)
