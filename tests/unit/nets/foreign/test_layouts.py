"""A file's layout is told by its keys; what a person names is held against them."""

import pytest
import torch
from torch import Tensor

from detco_core.contract.weights import WeightsFormat
from detco_core.nets.foreign.files import Kind, Opened
from detco_core.nets.foreign.fit import expected_tensors
from detco_core.nets.foreign.layouts import Recognised, recognise

EXPECTED = expected_tensors("resnet18")
BARE = {name: torch.ones(1) for name in EXPECTED}


def put(prefix: str, *others: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in BARE.items()} | {name: torch.ones(1) for name in others}


def found(
    tensors: dict[str, Tensor],
    kind: Kind = "torch",
    wrapper: str | None = "state_dict",
    format: WeightsFormat | None = None,
) -> Recognised | None:
    return recognise(Opened(tensors, kind, wrapper), EXPECTED, format)


@pytest.mark.parametrize(
    ("tensors", "format"),
    [
        (put("query.backbone.", "key.backbone.conv1.weight", "queues.globals"), "checkpoint"),
        (put("module.encoder_q.", "module.encoder_k.conv1.weight", "module.queue"), "moco"),
        (put("encoder_q.", "encoder_q.layers.0.0.conv1.weight", "encoder_q.global_mlps.0.0.weight"), "moco"),
        (put("module.base_encoder.", "module.momentum_encoder.conv1.weight", "module.predictor.0.weight"), "moco"),
        (put("encoder_q.0.", "encoder_q.1.mlp.0.weight", "encoder_k.0.conv1.weight"), "openselfsup"),
        (put("module.encoder_q.0.", "module.encoder_k.0.conv1.weight"), "openselfsup"),
        (put("backbone_q.", "encoder_q_necks.0.mlp.0.weight", "backbone_k.conv1.weight"), "openselfsup"),
        (put("backbone.", "neck.mlp.0.weight", "head.loss.weight"), "openselfsup"),
        (put("backbone.", "neck.lateral_convs.0.conv.weight", "rpn_head.rpn_conv.weight"), "mmdetection"),
        (put(""), "detco"),
        (put("", "fc.weight"), "torchvision"),
        (put("module.", "module.fc.weight"), "torchvision"),
        (put("_orig_mod.module.", "_orig_mod.module.fc.weight"), "torchvision"),
        (put("backbone.body.", "backbone.fpn.inner_blocks.0.0.weight", "rpn.head.cls_logits.weight"), "torchvision"),
    ],
)
def test_the_keys_tell_the_layout(tensors: dict[str, Tensor], format: WeightsFormat) -> None:
    recognised = found(tensors)
    assert recognised is not None
    assert recognised.format == format
    assert set(recognised.names.values()) == set(EXPECTED)
    assert all(key.endswith(name) for key, name in recognised.names.items())


def test_bare_names_are_told_apart_by_their_file() -> None:
    for kind, wrapper, format in (
        ("torch", None, "torchvision"),
        ("torch", "state_dict", "detco"),
        ("safetensors", None, "timm"),
    ):
        recognised = recognise(Opened(put(""), kind, wrapper), EXPECTED)  # type: ignore[arg-type]  # a listed kind
        assert recognised is not None
        assert recognised.format == format


def test_the_teacher_is_dinos() -> None:
    for prefix in ("backbone.", "module.backbone."):
        recognised = found(put(prefix, "head.mlp.0.weight"), wrapper="teacher")
        assert recognised is not None
        assert recognised.format == "dino"


def test_a_named_format_is_taken_at_its_word_when_the_keys_fit() -> None:
    for format in ("detco", "torchvision", "timm", "openselfsup", "mmdetection", "dino"):
        recognised = found(put(""), format=format)
        assert recognised is not None
        assert recognised.format == format
    for format in ("moco", "detectron2", "checkpoint"):
        assert found(put(""), format=format) is None  # type: ignore[arg-type]  # a listed format


def test_of_several_layouts_the_one_with_most_keys_is_taken() -> None:
    """An encoder beside a stray key of another layout."""
    recognised = found(put("encoder_q.0.") | {"conv1.weight": torch.ones(1)})
    assert recognised is not None
    assert recognised.format == "openselfsup"
    assert len(recognised.names) == len(EXPECTED)


def test_nothing_known_is_no_layout() -> None:
    assert found({"transformer.0.weight": torch.ones(1)}) is None
    assert found({}) is None
