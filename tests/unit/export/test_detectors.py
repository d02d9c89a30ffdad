"""The config files say what the protocol needs, in the run's own values."""

import ast
from typing import Any

import pytest
import yaml

from detco_core.contract.manifest import InputSpec
from detco_core.export.detectors import detectron2_configs, mmdetection_configs
from detco_core.export.subject import Subject
from detco_core.nets.resnet import make_resnet

GRAY = InputSpec(channels=1, mean=(0.5,), std=(0.25,), color="gray", bit_depth=16)


def subject(architecture: str = "resnet50", spec: InputSpec | None = None) -> Subject:
    spec = spec or InputSpec(mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.2))
    return Subject(make_resnet(architecture, spec.channels), spec)


def merged(of: Subject, name: str) -> Any:
    file, text = detectron2_configs(of, "detectron2.pkl")[name]
    assert f'cfg.merge_from_file("{file}")' in text
    return yaml.safe_load(text)


@pytest.mark.parametrize("name", ["detectron2_fpn", "detectron2_c4"])
def test_detectron2_gets_the_protocol_of_transfer(name: str) -> None:
    config = merged(subject(), name)
    model = config["MODEL"]
    assert model["WEIGHTS"] == "detectron2.pkl"
    assert model["BACKBONE"] == {"FREEZE_AT": 0}
    assert model["RESNETS"] == {"DEPTH": 50, "NORM": "SyncBN", "STRIDE_IN_1X1": False}
    assert (model["PIXEL_MEAN"], model["PIXEL_STD"]) == ([102.0, 127.5, 153.0], [51.0, 51.0, 51.0])
    assert config["INPUT"] == {"FORMAT": "RGB"}
    assert config["TEST"] == {"PRECISE_BN": {"ENABLED": True}}
    if name == "detectron2_fpn":
        assert model["FPN"] == {"NORM": "SyncBN"}
    else:
        assert model["ROI_HEADS"] == {"NAME": "Res5ROIHeadsExtraNorm"}


def test_the_c4_head_is_python_that_registers_the_name_the_config_has() -> None:
    file, text = detectron2_configs(subject(), "x")["detectron2_c4_head"]
    (head,) = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)]
    assert (file, head.name) == ("detectron2_c4_head.py", "Res5ROIHeadsExtraNorm")


@pytest.mark.parametrize(
    ("architecture", "resnets"),
    [
        ("resnet18", {"DEPTH": 18, "RES2_OUT_CHANNELS": 64}),
        ("resnext50_32x4d", {"DEPTH": 50, "NUM_GROUPS": 32, "WIDTH_PER_GROUP": 4}),
        ("wide_resnet50_2", {"DEPTH": 50, "WIDTH_PER_GROUP": 128}),
    ],
)
def test_detectron2_is_told_the_architecture(architecture: str, resnets: dict[str, int]) -> None:
    found = merged(subject(architecture), "detectron2_fpn")["MODEL"]["RESNETS"]
    assert found == {"NORM": "SyncBN", "STRIDE_IN_1X1": False, **resnets}


def test_there_is_no_c4_of_basic_blocks() -> None:
    assert set(detectron2_configs(subject("resnet18"), "x")) == {"detectron2_fpn"}


def assigned(text: str) -> dict[str, Any]:
    """The assignments of a config, `dict(...)` and names included."""
    values: dict[str, Any] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            values[node.targets[0].id] = eval(ast.unparse(node.value), {"dict": dict, **values})  # noqa: S307 - ours
    return values


def test_mmdetection_gets_the_protocol_of_transfer() -> None:
    file, text = mmdetection_configs(subject("resnext50_32x4d"), "mmdetection.pth")["mmdetection_fpn"]
    config = assigned(text)
    norm = {"type": "SyncBN", "requires_grad": True}
    assert file == "mmdetection_fpn.py"
    assert config["_base_"] == "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
    assert config["model"] == {
        "data_preprocessor": {"mean": [102.0, 127.5, 153.0], "std": [51.0, 51.0, 51.0], "bgr_to_rgb": True},
        "backbone": {
            "type": "ResNeXt",
            "groups": 32,
            "base_width": 4,
            "depth": 50,
            "frozen_stages": -1,
            "norm_cfg": norm,
            "norm_eval": False,
            "style": "pytorch",
            "init_cfg": {"type": "Pretrained", "checkpoint": "mmdetection.pth"},
        },
        "neck": {"in_channels": [256, 512, 1024, 2048], "norm_cfg": norm},
    }


def test_grey_images_of_16_bits() -> None:
    gray = subject("resnet18", GRAY)
    config = merged(gray, "detectron2_fpn")
    assert (config["MODEL"]["PIXEL_MEAN"], config["INPUT"]["FORMAT"]) == ([32767.5], "L")
    text = mmdetection_configs(gray, "x")["mmdetection_fpn"][1]
    model = assigned(text)["model"]
    assert (model["backbone"]["in_channels"], model["data_preprocessor"]["bgr_to_rgb"]) == (1, False)
    assert "color_type='grayscale'" in text
