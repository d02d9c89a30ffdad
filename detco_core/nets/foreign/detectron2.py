"""detectron2's names for the parameters of a ResNet, from ours (torchvision's) and back.

The rules of the converter that MoCo and DetCo publish: the stem is called so, `layerN` is `res(N+1)`, a batch norm
hangs under its convolution, and the downsampling is a shortcut.
"""

import re

_STEM = re.compile(r"(conv1|bn1)\.(\w+)")
_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.(?:(conv|bn)([1-3])|downsample\.([01]))\.(\w+)")
_THEIR_STEM = re.compile(r"stem\.conv1(\.norm)?\.(\w+)")
_THEIR_BLOCK = re.compile(r"res([2-5])\.(\d+)\.(conv[1-3]|shortcut)(\.norm)?\.(\w+)")
_PREFIX = re.compile(r"(?:backbone\.bottom_up\.|backbone\.|roi_heads\.)(?=stem\.|res[2-5]\.)")


def to_detectron2(name: str) -> str | None:
    """detectron2's name of a parameter of ours, without a prefix; None when it has none."""
    if stem := _STEM.fullmatch(name):
        return f"stem.conv1.{'norm.' if stem[1] == 'bn1' else ''}{stem[2]}"
    if block := _BLOCK.fullmatch(name):
        stage, place, kind, number, downsample, leaf = block.groups()
        layer = f"conv{number}" if kind else "shortcut"
        norm = "norm." if kind == "bn" or downsample == "1" else ""
        return f"res{int(stage) + 1}.{place}.{layer}.{norm}{leaf}"
    return None


def from_detectron2(name: str) -> str | None:
    """Our name of a parameter of detectron2's backbone; None when it is none of ours.

    A detector's prefixes are known: `backbone.bottom_up.` (FPN), `backbone.` and `roi_heads.` (C4, which computes res5
    there).
    """
    name = _PREFIX.sub("", name, count=1)
    if stem := _THEIR_STEM.fullmatch(name):
        return f"{'bn1' if stem[1] else 'conv1'}.{stem[2]}"
    if block := _THEIR_BLOCK.fullmatch(name):
        stage, place, layer, norm, leaf = block.groups()
        if layer == "shortcut":
            inside = "downsample.1" if norm else "downsample.0"
        else:
            inside = layer.replace("conv", "bn") if norm else layer
        return f"layer{int(stage) - 1}.{place}.{inside}.{leaf}"
    return None
