"""Names go to detectron2's and back, as its converter has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detco_core.nets.foreign.detectron2 import from_detectron2, to_detectron2
from detco_core.nets.foreign.fit import expected_tensors
from detco_core.nets.resnet import resnets

PAIRS = [
    ("conv1.weight", "stem.conv1.weight"),
    ("bn1.running_var", "stem.conv1.norm.running_var"),
    ("layer1.0.conv1.weight", "res2.0.conv1.weight"),
    ("layer4.2.bn3.bias", "res5.2.conv3.norm.bias"),
    ("layer3.0.downsample.0.weight", "res4.0.shortcut.weight"),
    ("layer2.0.downsample.1.num_batches_tracked", "res3.0.shortcut.norm.num_batches_tracked"),
    ("layer3.22.bn1.weight", "res4.22.conv1.norm.weight"),
]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_pairs_of_the_published_converter(ours: str, theirs: str) -> None:
    assert to_detectron2(ours) == theirs
    assert from_detectron2(theirs) == ours


def slow(name: str) -> str:
    """The published converter's rules, one replacement after another, as its description has them."""
    if "layer" not in name:
        name = "stem." + name
    for stage in (1, 2, 3, 4):
        name = name.replace(f"layer{stage}", f"res{stage + 1}")
    for number in (1, 2, 3):
        name = name.replace(f"bn{number}", f"conv{number}.norm")
    return name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")


@pytest.mark.parametrize("architecture", resnets())
def test_every_name_of_every_resnet_goes_there_and_back(architecture: str) -> None:
    names = list(expected_tensors(architecture))
    theirs = [to_detectron2(name) for name in names]
    assert theirs == [slow(name) for name in names]
    assert [from_detectron2(str(name)) for name in theirs] == names


@pytest.mark.parametrize("prefix", ["backbone.bottom_up.", "backbone.", "roi_heads."])
def test_a_detectors_prefix_is_known(prefix: str) -> None:
    assert from_detectron2(prefix + "res5.0.conv1.weight") == "layer4.0.conv1.weight"


@pytest.mark.parametrize(
    "name",
    [
        "backbone.fpn_lateral2.weight",
        "roi_heads.res5.norm.weight",
        "proposal_generator.rpn_head.conv.weight",
        "stem.conv2.weight",
        "res6.0.conv1.weight",
        "fc.weight",
        "backbone.backbone.res5.0.conv1.weight",
    ],
)
def test_what_is_no_part_of_the_backbone_has_no_name_of_ours(name: str) -> None:
    assert from_detectron2(name) is None


@pytest.mark.parametrize("name", ["fc.weight", "stages.0.blocks.0.gamma", "stem.0.weight", "layer5.0.conv1.weight"])
def test_what_detectron2_does_not_have_gets_no_name(name: str) -> None:
    assert to_detectron2(name) is None


@given(st.text(max_size=40))
def test_any_text_is_a_name_or_none(text: str) -> None:
    ours = from_detectron2(text)
    assert ours is None or to_detectron2(ours) is not None
