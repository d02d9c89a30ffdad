"""Config files for detectron2 and mmdetection that make the exported weights work there.

Values come from the run's own input. What they turn on, and why: `advice.py`; the protocol is DetCo's and MoCo's own
for transfer to detection.
"""

import json
from collections.abc import Mapping

from detco_core.export.subject import Subject
from detco_core.export.tables import RESNETS

_EXTRA_NORM = '''"""detectron2's C4 head with one more norm behind res5, as MoCo and DetCo transfer to it.

Import this before the model is built.
"""

from detectron2.layers import get_norm
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.roi_heads import Res5ROIHeads


@ROI_HEADS_REGISTRY.register()
class Res5ROIHeadsExtraNorm(Res5ROIHeads):
    @classmethod
    def _build_res5_block(cls, cfg):
        blocks, channels = super()._build_res5_block(cfg)
        blocks.add_module("norm", get_norm(cfg.MODEL.RESNETS.NORM, channels))
        return blocks, channels
'''

# Settings of detectron2 that differ from those of its model zoo's configs, by the way detectors are built.
_FPN = "FPN: {NORM: SyncBN}"
_C4 = "ROI_HEADS: {NAME: Res5ROIHeadsExtraNorm}"


def detectron2_configs(subject: Subject, weights: str) -> Mapping[str, tuple[str, str]]:
    """Name in the manifest -> file name and text: to merge over a config of detectron2's model zoo.

    C4 detectors compute res5 in their head, for which detectron2 has bottleneck blocks only: none for ResNet-18 and 34.
    """
    zoo = "COCO-InstanceSegmentation/mask_rcnn_R_50"
    configs = {
        "detectron2_fpn": (
            "detectron2_fpn.yaml",
            _yaml(subject, weights, "detectron2_fpn.yaml", f"{zoo}_FPN_1x.yaml", _FPN),
        )
    }
    if RESNETS[subject.architecture].bottleneck:
        configs["detectron2_c4"] = (
            "detectron2_c4.yaml",
            _yaml(subject, weights, "detectron2_c4.yaml", f"{zoo}_C4_1x.yaml", _C4),
        )
        configs["detectron2_c4_head"] = ("detectron2_c4_head.py", _EXTRA_NORM)
    return configs


def _yaml(subject: Subject, weights: str, name: str, base: str, part: str) -> str:
    net = RESNETS[subject.architecture]
    resnets = {"DEPTH": str(net.depth), "NORM": "SyncBN", "STRIDE_IN_1X1": "False"}
    if not net.bottleneck:
        resnets["RES2_OUT_CHANNELS"] = "64"
    if net.groups > 1:
        resnets["NUM_GROUPS"] = str(net.groups)
    if net.width != 64:
        resnets["WIDTH_PER_GROUP"] = str(net.width)
    return f"""# Merge over a config of detectron2's model zoo:
#   cfg.merge_from_file(model_zoo.get_config_file("{base}"))
#   cfg.merge_from_file("{name}")
VERSION: 2
MODEL:
  WEIGHTS: {weights}  # where you put it
  PIXEL_MEAN: {subject.pixel_mean}
  PIXEL_STD: {subject.pixel_std}
  BACKBONE: {{FREEZE_AT: 0}}
  RESNETS: {{{", ".join(f"{name}: {value}" for name, value in resnets.items())}}}
  {part}
INPUT:
  FORMAT: {_detectron2_format(subject)}
TEST:
  PRECISE_BN: {{ENABLED: True}}
"""


def _detectron2_format(subject: Subject) -> str:
    names = {"rgb": "RGB", "gray": "L"}
    # detectron2 reads pictures of other kinds through a mapper of your own, which does not look at this.
    return names.get(subject.input.color, "RGB  # not used: your own mapper has to read these images")


def mmdetection_configs(subject: Subject, weights: str) -> Mapping[str, tuple[str, str]]:
    """Name in the manifest -> file name and text: a config of mmdetection 3 over its Faster R-CNN with FPN."""
    net = RESNETS[subject.architecture]
    kind = {"type": "ResNeXt", "groups": net.groups, "base_width": net.width} if net.groups > 1 else {"type": "ResNet"}
    channels = {"in_channels": subject.input.channels} if subject.input.channels != 3 else {}
    backbone = {**kind, "depth": net.depth, **channels}
    return {"mmdetection_fpn": ("mmdetection_fpn.py", _python(subject, weights, backbone))}


def _python(subject: Subject, weights: str, backbone: Mapping[str, object]) -> str:
    given = "".join(f"        {name}={json.dumps(value)},\n" for name, value in backbone.items())
    gray = subject.input.color == "gray"
    reading = "\n# In both pipelines: dict(type='LoadImageFromFile', color_type='grayscale')\n" if gray else ""
    return f'''"""Faster R-CNN with FPN on the exported weights: give it to mmdetection's tools/train.py."""

_base_ = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
{reading}
norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    data_preprocessor=dict(
        mean={subject.pixel_mean},
        std={subject.pixel_std},
        bgr_to_rgb={subject.input.color == "rgb"},
    ),
    backbone=dict(
{given}        frozen_stages=-1,
        norm_cfg=norm_cfg,
        norm_eval=False,
        style="pytorch",
        init_cfg=dict(type="Pretrained", checkpoint="{weights}"),
    ),
    neck=dict(in_channels={list(subject.backbone.channels)}, norm_cfg=norm_cfg),
)
'''
