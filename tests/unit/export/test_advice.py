"""The advice names what each library has to be told, with the run's own values."""

import re

import pytest

from detco_core.contract.manifest import EXPORT_FORMATS, InputSpec
from detco_core.export.advice import ADVICE, advice_page
from detco_core.export.subject import Subject
from detco_core.nets.resnet import make_resnet

SUBJECT = Subject(make_resnet("resnet50", 3), InputSpec(mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.2)))


def test_there_is_advice_for_every_format() -> None:
    assert tuple(ADVICE) == EXPORT_FORMATS


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("onnx", ["RGB in 0..1", r"mean \[0\.4, 0\.5, 0\.6\]"]),
        ("torchvision", ["strict=False", "trainable_layers=5", "SyncBatchNorm", r"\[0\.2, 0\.2, 0\.2\]"]),
        ("timm", ["num_classes=0", r"\[0\.4, 0\.5, 0\.6\]"]),
        (
            "detectron2",
            ["FREEZE_AT is 0", "SyncBN", "RGB in 0..255", r"102\.0", "STRIDE_IN_1X1 is False", "extra|more norm"],
        ),
        ("mmdetection", ["frozen_stages is -1", "SyncBN", "norm_eval is False", r"127\.5", "bgr_to_rgb is True"]),
    ],
)
def test_it_says_what_makes_the_weights_work(name: str, words: list[str]) -> None:
    text = " ".join(ADVICE[name](SUBJECT))
    for word in words:
        assert re.search(word, text), word


def test_other_pixels_are_named_as_they_are() -> None:
    gray = Subject(
        make_resnet("resnet18", 1), InputSpec(channels=1, mean=(0.5,), std=(0.2,), color="gray", bit_depth=16)
    )
    text = " ".join(ADVICE["detectron2"](gray))
    assert "grey in 0..65535" in text
    assert "no C4 head of basic blocks" in text
    raw = Subject(make_resnet("resnet18", 2), InputSpec(channels=2, mean=(0.5, 0.5), std=(0.2, 0.2), color="raw"))
    assert "2 channels as stored in 0..1" in ADVICE["timm"](raw)[1]


def test_the_page_holds_every_sentence_and_what_was_left_out() -> None:
    page = advice_page(SUBJECT, {"timm": ("Do this.",), "onnx": ("Do that.",)}, {"mmdetection": "no such network"})
    assert page.startswith("# Using these weights (resnet50)\n")
    assert "## timm\n\n- Do this.\n\n## onnx\n\n- Do that.\n" in page
    assert page.endswith("## Left out\n\n- mmdetection: no such network\n")
    assert "Left out" not in advice_page(SUBJECT, {}, {})
