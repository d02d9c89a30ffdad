from pathlib import Path

import numpy as np

from benchmarks.serving.bare import Bare
from benchmarks.serving.pictures import jpeg
from detco_core.contract.features import ResizeExact
from detco_core.inference import Backbone
from detco_core.inference.tiny import write_tiny_bundle


def test_the_floor_computes_what_is_served(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path)
    image = jpeg((90, 70))
    body, length = Bare(tmp_path / "model.onnx", 64).answer(image)
    served = Backbone(tmp_path, providers=["CPUExecutionProvider"]).features(
        image, resize=ResizeExact(height=64, width=64)
    )
    np.testing.assert_array_equal(np.frombuffer(body[length:], "<f4").reshape(1, 10, 2, 2), served.tensors["res5"])
