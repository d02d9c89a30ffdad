"""What makes the exported weights work in each library, in words, with the values of the run that made them.

The detectors' default settings are for supervised ResNets: frozen batch norm, frozen first stages, other pixels. With
them self-supervised weights fall short: a user of mmdetection got 35.5-35.8 AP where supervised weights had 37.5, and
37.5-37.8 with SyncBN and no frozen stage (WXinlong/DenseCL, issue 7).
"""

from collections.abc import Callable, Mapping

from detco_core.contract.manifest import InputSpec
from detco_core.export.subject import Subject
from detco_core.export.tables import RESNETS

Advice = tuple[str, ...]

_SYNC_BN = (
    "Use SyncBN in the backbone and behind the FPN's convolutions, trained and not frozen: these weights have had no "
    "labels, and their batch norm must follow the detector's images. On one GPU it is plain batch norm: keep at least "
    "8 images a step."
)
_NO_FREEZE = "Freeze no stage."


def onnx_advice(subject: Subject) -> Advice:
    return (
        "Prepare images as the manifest's `input` says: " + _input(subject.input),
        "Outputs are named after the manifest's levels, and `pooled`; batch, height and width are free.",
    )


def torchvision_advice(subject: Subject) -> Advice:
    return (
        "There is no classifier in the file: load it with strict=False, or put nn.Identity() for fc.",
        _input(subject.input),
        "In a detector of torchvision give GeneralizedRCNNTransform this mean and standard deviation (image_mean, "
        "image_std), trainable_layers=5, and norm_layer=nn.SyncBatchNorm (or nn.BatchNorm2d) in place of the frozen "
        "default.",
    )


def timm_advice(subject: Subject) -> Advice:
    return (
        "There is no classifier in the file: make the model with num_classes=0, or with features_only=True.",
        _input(subject.input) + " In timm: create_transform(mean=..., std=...).",
    )


def detectron2_advice(subject: Subject) -> Advice:
    c4 = (
        "C4 detectors need one more norm behind res5: import detectron2_c4_head.py and take detectron2_c4.yaml. "
        "detectron2 then reports roi_heads.res5.norm, the RPN and the predictors as not found in the checkpoint: that "
        "is as it should be."
        if RESNETS[subject.architecture].bottleneck
        else "detectron2 has no C4 head of basic blocks: use FPN."
    )
    return (
        f"{_NO_FREEZE} MODEL.BACKBONE.FREEZE_AT is 0 (detectron2's default is 2).",
        f"{_SYNC_BN} MODEL.RESNETS.NORM and MODEL.FPN.NORM are SyncBN; TEST.PRECISE_BN is on.",
        f"Pixels are {_colors(subject.input)} in 0..{subject.full_scale}: PIXEL_MEAN {subject.pixel_mean}, PIXEL_STD "
        f"{subject.pixel_std}; detectron2's default is BGR with a standard deviation of 1.",
        "MODEL.RESNETS.STRIDE_IN_1X1 is False: the stride is in the 3x3 convolution, as in torchvision.",
        c4,
        "The file's name must end in .pkl.",
    )


def mmdetection_advice(subject: Subject) -> Advice:
    return (
        f"{_NO_FREEZE} frozen_stages is -1 (mmdetection's configs have 1).",
        f"{_SYNC_BN} norm_cfg is SyncBN with requires_grad in backbone and neck, norm_eval is False.",
        f"Pixels are {_colors(subject.input)} in 0..{subject.full_scale}: mean {subject.pixel_mean}, std "
        f"{subject.pixel_std} in data_preprocessor; mmdetection reads BGR, so bgr_to_rgb is "
        f"{subject.input.color == 'rgb'}.",
        'style is "pytorch": the stride is in the 3x3 convolution.',
    )


ADVICE: Mapping[str, Callable[[Subject], Advice]] = {
    "onnx": onnx_advice,
    "torchvision": torchvision_advice,
    "timm": timm_advice,
    "detectron2": detectron2_advice,
    "mmdetection": mmdetection_advice,
}


def advice_page(subject: Subject, advice: Mapping[str, Advice], left_out: Mapping[str, str]) -> str:
    """The advice as a page of Markdown."""
    lines = [
        f"# Using these weights ({subject.architecture})",
        "",
        "The detectors' defaults are for supervised weights. With them self-supervised ones fall short: a user of "
        "mmdetection got 35.5-35.8 AP where supervised weights had 37.5, and 37.5-37.8 with SyncBN and no frozen stage "
        "(WXinlong/DenseCL#7).",
    ]
    for name, sentences in advice.items():
        lines += ["", f"## {name}", "", *(f"- {sentence}" for sentence in sentences)]
    if left_out:
        lines += ["", "## Left out", "", *(f"- {name}: {reason}" for name, reason in left_out.items())]
    return "\n".join(lines) + "\n"


def _input(spec: InputSpec) -> str:
    return (
        f"{_colors(spec)} in 0..1 (divide by {2**spec.bit_depth - 1}), less the mean {list(spec.mean)}, divided by the "
        f"standard deviation {list(spec.std)}."
    )


def _colors(spec: InputSpec) -> str:
    return {"rgb": "RGB", "gray": "grey"}.get(spec.color, f"{spec.channels} channels as stored")
