"""A torchvision Faster R-CNN on the weights of an exported bundle: all of it trains, as its `ADVICE.md` says.

    detco models download MODEL 1 --format manifest -o bundle/manifest.json       # of a service, or
    detco models download MODEL 1 --format torchvision -o bundle/torchvision.pth  # python -m detco_core export JOB.json
    python -m examples.exported_detector bundle PHOTO

Needs no service. `examples/served_detector.py` is the other way: its backbone stays a service and is never trained.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torchvision.models import get_model
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.transforms.functional import pil_to_tensor

STAGES = {"layer1": "0", "layer2": "1", "layer3": "2", "layer4": "3"}
"""By the names that torchvision's region pooling looks for."""


def make_detector(bundle: Path, classes: int = 91, side: int = 800) -> FasterRCNN:
    """The detector; its pyramid and heads start random. `side`: short side of the pictures it looks at, in pixels.

    Raises:
        SystemExit: the bundle has no weights for torchvision.
        RuntimeError: they are not those of the network that its manifest names.
    """
    weights = bundle / "torchvision.pth"
    if not weights.is_file():
        raise SystemExit(
            f"{weights} is not there: export the model with `--format torchvision`, and download that file"
        )
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    # No frozen stage, and batch norm that learns, in the pyramid too: over all GPUs where there are several.
    norm = nn.SyncBatchNorm if torch.distributed.is_initialized() else nn.BatchNorm2d
    network = get_model(manifest["architecture"], weights=None, norm_layer=norm)
    widths = [level["channels"] for level in manifest["levels"]]
    backbone = BackboneWithFPN(network, STAGES, widths, out_channels=256, norm_layer=norm)
    backbone.body.load_state_dict(torch.load(weights, weights_only=True))
    pixels = {"image_mean": manifest["input"]["mean"], "image_std": manifest["input"]["std"]}
    return FasterRCNN(backbone, num_classes=classes, min_size=side, **pixels)


def main(words: Sequence[str], side: int = 800) -> None:
    bundle, photo = map(Path, words)
    detector = make_detector(bundle, side=side).eval()
    picture = pil_to_tensor(Image.open(photo).convert("RGB")) / 255
    with torch.inference_mode():
        (found,) = detector([picture])
    print(f"{len(found['boxes'])} boxes from heads that were never trained")


if __name__ == "__main__":
    main(sys.argv[1:])
