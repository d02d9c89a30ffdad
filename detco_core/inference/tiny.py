"""A bundle of a few kilobytes for tests and examples: a real ONNX file that no training made.

Four 3x3 convolutions of stride 2 (the first of stride 4 in all), so that levels, strides, odd sizes and dynamic shapes
behave as a ResNet's do, in microseconds.
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.manifest import MANIFEST_FILE, BundleFile, InputSpec, Level, Manifest
from detco_core.contract.reader import plain
from detco_core.inference.binding import INPUT
from detco_core.inference.session import POOLED

if TYPE_CHECKING:
    from onnx import ModelProto

CHANNELS = (4, 6, 8, 10)
STRIDES = (4, 8, 16, 32)


def write_tiny_bundle(folder: Path, seed: int = 0, spec: InputSpec | None = None) -> Manifest:
    """Write `manifest.json` and `model.onnx` to `folder` (made if need be); another seed, other weights.

    Needs the `onnx` package, which the `core` extra brings.
    """
    spec = spec or InputSpec()
    weights = _weights(seed, spec.channels)
    model = _model(weights, spec.channels).SerializeToString()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model)
    levels = zip(CHANNELS, STRIDES, strict=True)
    manifest = Manifest(
        architecture="tiny",
        weights_digest=_digest(b"".join(weights[name].tobytes() for name in sorted(weights))),
        levels=tuple(Level(name=f"res{n}", channels=c, stride=s) for n, (c, s) in enumerate(levels, start=2)),
        pooled=CHANNELS[-1],
        input=spec,
        files={"onnx": BundleFile(path="model.onnx", bytes=len(model), sha256=_digest(model))},
        parity={},
    )
    (folder / MANIFEST_FILE).write_text(json.dumps(plain(manifest)), "utf-8")
    return manifest


def _weights(seed: int, channels: int) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    widths = (channels, CHANNELS[0], *CHANNELS)
    shapes = {f"w{n}": (widths[n + 1], widths[n], 3, 3) for n in range(len(widths) - 1)}
    return {name: random.standard_normal(shape, np.float32) / np.float32(3) for name, shape in shapes.items()}


def _model(weights: dict[str, NDArray[np.float32]], channels: int) -> "ModelProto":
    from onnx import TensorProto, helper, numpy_helper

    def value(name: str, *shape: str | int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    nodes = []
    source = INPUT
    for n, target in enumerate(("stem", "res2", "res3", "res4", "res5")):
        convolved = f"{target}.conv"
        nodes.append(
            helper.make_node("Conv", [source, f"w{n}"], [convolved], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        )
        nodes.append(helper.make_node("Relu", [convolved], [target]))
        source = target
    nodes.append(helper.make_node("GlobalAveragePool", [source], ["mean"]))
    nodes.append(helper.make_node("Flatten", ["mean"], [POOLED]))
    outputs = [value(f"res{n}", "n", c, f"h{n}", f"w{n}") for n, c in enumerate(CHANNELS, start=2)]
    outputs.append(value(POOLED, "n", CHANNELS[-1]))
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "tiny", [value(INPUT, "n", channels, "h", "w")], outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
