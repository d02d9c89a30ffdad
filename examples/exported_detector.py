"""A torchvision Faster R-CNN on the weights of an exported bundle: all of it trains, as its `ADVICE.md` says.

    python -m examples.exported_detector BUNDLE PHOTO

Needs no service. `examples/served_detector.py` is the other way: its backbone stays a service and is never trained.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.transforms.functional import pil_to_tensor

ALL_STAGES = 5


def make_detector(bundle: Path, classes: int = 91, side: int = 800) -> FasterRCNN:
    """The detector; its pyramid and heads start random. `side`: short side of the pictures it looks at, in pixels.

    Raises:
        RuntimeError: the bundle's weights are not those of the network that its manifest names.
    """
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    # No frozen stage, and batch norm that learns: over all GPUs where there are several.
    norm = nn.SyncBatchNorm if torch.distributed.is_initialized() else nn.BatchNorm2d
    backbone = resnet_fpn_backbone(
        backbone_name=manifest["architecture"], weights=None, norm_layer=norm, trainable_layers=ALL_STAGES
    )
    backbone.body.load_state_dict(torch.load(bundle / "torchvision.pth", weights_only=True))
    pixels = {"image_mean": manifest["input"]["mean"], "image_std": manifest["input"]["std"]}
    return FasterRCNN(backbone, num_classes=classes, min_size=side, **pixels)


def main(words: Sequence[str]) -> None:
    bundle, photo = map(Path, words)
    detector = make_detector(bundle).eval()
    picture = pil_to_tensor(Image.open(photo).convert("RGB")) / 255
    with torch.inference_mode():
        (found,) = detector([picture])
    print(f"{len(found['boxes'])} boxes from heads that were never trained")


if __name__ == "__main__":
    main(sys.argv[1:])
