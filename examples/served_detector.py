"""A torchvision Faster R-CNN whose backbone is a service: levels come from `/v2`, pyramid and heads run and train here.

    DETCO_URL=http://127.0.0.1:8000 DETCO_TOKEN=... python -m examples.served_detector MODEL PHOTO

The backbone is frozen by nature: no gradient travels back. A pyramid is many times larger than its picture
(docs/serving.md), so this is for machines side by side; `Backbone.from_server` runs the same network in this process,
and `examples/exported_detector.py` puts the exported weights into a detector that trains all of it.
"""

import json
import os
import sys
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.transforms.functional import pil_to_tensor

from detco_client.tensors import LENGTH_HEADER, parse

LEVELS = ("res2", "res3", "res4", "res5")


class ServedPyramid(nn.Module):
    """The four levels of a served model, and a feature pyramid on top of them.

    Attributes:
        out_channels: of every map; what torchvision's detectors ask of a backbone.
    """

    def __init__(self, url: str, token: str, model: str, out_channels: int = 256) -> None:
        super().__init__()
        self._model = f"/v2/models/{model}_tensor"
        self._http = httpx.Client(base_url=url, timeout=60.0, headers={"Authorization": f"Bearer {token}"})
        widths = self._widths()
        self.out_channels = out_channels
        inside = [widths[level] for level in LEVELS]
        self.pyramid = FeaturePyramidNetwork(inside, out_channels, LastLevelMaxPool())

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """`[N, 3, H, W]` of values in 0..1 to maps `[N, out_channels, h, w]`, finest first."""
        arrays = self._ask(images)
        # Torchvision's region pooling looks for levels of these names.
        names = enumerate(LEVELS)
        levels = OrderedDict((str(n), torch.from_numpy(arrays[level]).to(images)) for n, level in names)
        maps: OrderedDict[str, Tensor] = self.pyramid(levels)
        return maps

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def _widths(self) -> dict[str, int]:
        answer = self._http.get(self._model).raise_for_status().json()
        return {output["name"]: output["shape"][1] for output in answer["outputs"]}

    def _ask(self, images: Tensor) -> dict[str, np.ndarray]:
        # The service normalises; it takes pixel values of 0 to 255.
        pixels = (255 * images.detach().cpu()).numpy()
        tensor = {"name": "pixels", "shape": list(pixels.shape), "datatype": "FP32"}
        head = {
            "inputs": [tensor | {"parameters": {"binary_data_size": pixels.nbytes}}],
            "outputs": [{"name": level, "parameters": {"binary_data": True}} for level in LEVELS],
        }
        text = json.dumps(head).encode()
        body = text + np.ascontiguousarray(pixels, "<f4").tobytes()
        headers = {LENGTH_HEADER: str(len(text))}
        answer = self._http.post(f"{self._model}/infer", content=body, headers=headers).raise_for_status()
        _, tensors = parse(answer.content, answer.headers[LENGTH_HEADER])
        return {tensor.name: np.array(tensor.array) for tensor in tensors}


def make_detector(url: str, token: str, model: str, classes: int = 91, side: int = 800) -> FasterRCNN:
    """The detector; its pyramid and heads start random. `side`: short side of the pictures it looks at, in pixels."""
    unit = {"image_mean": [0.0, 0.0, 0.0], "image_std": [1.0, 1.0, 1.0]}
    return FasterRCNN(ServedPyramid(url, token, model), num_classes=classes, min_size=side, **unit)


def main(words: Sequence[str]) -> None:
    model, photo = words
    detector = make_detector(os.environ["DETCO_URL"], os.environ["DETCO_TOKEN"], model).eval()
    picture = pil_to_tensor(Image.open(Path(photo)).convert("RGB")) / 255
    with torch.inference_mode():
        (found,) = detector([picture])
    detector.backbone.close()
    print(f"{len(found['boxes'])} boxes from heads that were never trained")


if __name__ == "__main__":
    main(sys.argv[1:])
