"""A torchvision Faster R-CNN whose backbone is a service: levels come from `/features`, pyramid and heads train here.

    DETCO_URL=http://127.0.0.1:8000 DETCO_TOKEN=... python -m examples.served_detector MODEL PHOTO

The backbone is frozen by nature: no gradient travels back. A pyramid is many times larger than its picture
(docs/serving.md), so this is for machines side by side; `Backbone.from_server` runs the same network in this process,
and `examples/exported_detector.py` puts the exported weights into a detector that trains all of it.
"""

import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.transforms.functional import pil_to_tensor

from detco_client import DetcoClient

LEVELS = ("res2", "res3", "res4", "res5")


class ServedPyramid(nn.Module):
    """The four levels of a model in production, and a feature pyramid on top of them.

    What is trained on one backbone is of no use on another: the version is the one in production now, for good.

    Attributes:
        out_channels: of every map; what torchvision's detectors ask of a backbone.
        mean: of the model's pixels, in 0..1.
    """

    def __init__(self, client: DetcoClient, model: str, out_channels: int = 256) -> None:
        super().__init__()
        version = client.models.version(model, client.models.get(model)["aliases"]["production"])
        manifest = version["manifest"] or {}
        self._client = client
        self._asked: dict[str, Any] = {"model": version["ref"], "expect_digest": version["weights_digest"]}
        widths = {level["name"]: level["channels"] for level in manifest["levels"]}
        self.mean: list[float] = manifest["input"]["mean"]
        self.out_channels = out_channels
        self.pyramid = FeaturePyramidNetwork([widths[level] for level in LEVELS], out_channels, LastLevelMaxPool())

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """`[N, 3, H, W]` of values in 0..1 less `mean` to maps `[N, out_channels, h, w]`, finest first."""
        # The padding of images of unlike sizes, 0 here, becomes the mean, and is 0 again where the service normalises.
        mean = torch.tensor(self.mean, device=images.device)[:, None, None]
        pixels = (255 * (images.detach() + mean)).round().clamp(0, 255).byte()
        arrays = list(pixels.permute(0, 2, 3, 1).cpu().numpy())
        found = self._client.features(arrays, levels=LEVELS, resize="none", **self._asked).images
        # Torchvision's region pooling looks for levels of these names.
        levels = OrderedDict(
            (str(n), torch.from_numpy(np.concatenate([image.levels[level] for image in found])).to(images))
            for n, level in enumerate(LEVELS)
        )
        maps: OrderedDict[str, Tensor] = self.pyramid(levels)
        return maps


def make_detector(client: DetcoClient, model: str, classes: int = 91, side: int = 800) -> FasterRCNN:
    """The detector; its pyramid and heads start random. `side`: short side of the pictures it looks at, in pixels."""
    backbone = ServedPyramid(client, model)
    return FasterRCNN(backbone, num_classes=classes, min_size=side, image_mean=backbone.mean, image_std=[1.0, 1.0, 1.0])


def main(words: Sequence[str], side: int = 800) -> None:
    model, photo = words
    picture = pil_to_tensor(Image.open(photo).convert("RGB")) / 255
    with DetcoClient() as client, torch.inference_mode():
        detector = make_detector(client, model, side=side).eval()
        (found,) = detector([picture])
    print(f"{len(found['boxes'])} boxes from heads that were never trained")


if __name__ == "__main__":
    main(sys.argv[1:])
