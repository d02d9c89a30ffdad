"""The least that a JPEG's features can cost: Pillow, NumPy and ONNX Runtime by hand, and the same octets as an answer.

Needs those three packages alone, so that the peers answer with this very code in environments of their own.
"""

import io
import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

LEVEL, STRIDE = "res5", 32
LENGTH_HEADER = "Inference-Header-Content-Length"
_PROVIDERS = {"cpu": ["CPUExecutionProvider"], "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"]}
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Bare:
    """A bundle's ONNX file, opened with what the runtime does by itself, but for threads that spin while they wait."""

    def __init__(self, model: Path, side: int, device: str = "cpu") -> None:
        """`device`: `cpu`, or `cuda` without a single option."""
        self._side = side
        if device != "cpu":
            onnxruntime.preload_dlls()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(str(model), options, providers=_PROVIDERS[device])

    def answer(self, image: bytes) -> tuple[bytes, int]:
        """The body for one JPEG, and how many bytes of it are the JSON that comes first.

        Raises:
            PIL.UnidentifiedImageError, OSError: it is no image, or a damaged one.
        """
        (features,) = self._session.run([LEVEL], {"image": self._input(image)})
        described = {
            "name": LEVEL,
            "datatype": "FP32",
            "shape": list(features.shape),
            "parameters": {"level": LEVEL, "stride": STRIDE, "binary_data_size": features.nbytes},
        }
        head = json.dumps({"outputs": [described]}, separators=(",", ":")).encode()
        return head + features.tobytes(), len(head)

    def _input(self, image: bytes) -> NDArray[np.float32]:
        """`[1, 3, side, side]`"""
        picture = Image.open(io.BytesIO(image)).convert("RGB")
        pixels = np.asarray(picture.resize((self._side, self._side), Image.Resampling.BILINEAR))
        array = np.empty((1, 3, self._side, self._side), np.float32)
        for channel, (mean, std) in enumerate(zip(_MEAN, _STD, strict=True)):
            np.multiply(pixels[..., channel], np.float32(1 / (255 * std)), out=array[0, channel], dtype=np.float32)
            array[0, channel] -= np.float32(mean / std)
        return array
