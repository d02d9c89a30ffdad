"""Bundles of a few kilobytes for tests and examples: real ONNX files that no training made.

Four 3x3 convolutions of stride 2 (the first of stride 4 in all), so that levels, strides, odd sizes and dynamic shapes
behave as a ResNet's do, in microseconds; and the same with a feature pyramid on top.
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.manifest import MANIFEST_FILE, BundleFile, InputSpec, Level, Manifest
from detco_core.contract.reader import plain
from detco_core.inference.sessions.arena import INPUT
from detco_core.inference.sessions.session import POOLED

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    Nodes = list[NodeProto]

CHANNELS = (4, 6, 8, 10)
STRIDES = (4, 8, 16, 32)
WIDTH = 8
"""Channels of every level of the pyramid."""


def write_tiny_bundle(folder: Path, seed: int = 0, spec: InputSpec | None = None) -> Manifest:
    """Write `manifest.json` and `model.onnx` to `folder` (made if need be); another seed, other weights.

    Needs the `onnx` package, which the `core` extra brings.
    """
    levels = zip(CHANNELS, STRIDES, strict=True)
    found = tuple(Level(name=f"res{n}", channels=c, stride=s) for n, (c, s) in enumerate(levels, start=2))
    spec = spec or InputSpec()
    weights = _weights(seed, spec.channels)
    return _write(folder, found, spec, weights, _backbone())


def write_tiny_pyramid(folder: Path, seed: int = 0, spec: InputSpec | None = None) -> Manifest:
    """The same with levels `p2` to `p6`, as a feature pyramid network (Lin et al. 2017) makes them of `res2` to `res5`.

    `spec` pads to a multiple of 32 by default, as detectors do: levels are added to one another, cell on cell.
    """
    spec = spec or InputSpec(multiple=32)
    weights = _weights(seed, spec.channels)
    random = np.random.default_rng(seed + 1)
    for n, channels in enumerate(CHANNELS, start=2):
        weights[f"lateral{n}"] = random.standard_normal((WIDTH, channels, 1, 1), np.float32)
    levels = tuple(Level(name=f"p{n}", channels=WIDTH, stride=2**n) for n in range(2, 7))
    return _write(folder, levels, spec, weights, [*_backbone(), *_top_down()])


def _write(
    folder: Path, levels: tuple[Level, ...], spec: InputSpec, weights: dict[str, NDArray[np.float32]], nodes: "Nodes"
) -> Manifest:
    model = _model(levels, spec.channels, weights, nodes).SerializeToString()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model)
    manifest = Manifest(
        architecture="tiny",
        weights_digest=_digest(b"".join(weights[name].tobytes() for name in sorted(weights))),
        levels=levels,
        pooled=levels[-1].channels,
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


def _backbone() -> "Nodes":
    """`res2` to `res5` of the image."""
    from onnx import helper

    nodes = []
    source = INPUT
    for n, target in enumerate(("stem", "res2", "res3", "res4", "res5")):
        convolved = f"{target}.conv"
        nodes.append(
            helper.make_node("Conv", [source, f"w{n}"], [convolved], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        )
        nodes.append(helper.make_node("Relu", [convolved], [target]))
        source = target
    return nodes


def _top_down() -> "Nodes":
    """`p2` to `p6` of `res2` to `res5`: each level and the next coarser one, twice as large."""
    from onnx import helper

    nodes = [helper.make_node("Conv", ["res5", "lateral5"], ["p5"], kernel_shape=[1, 1])]
    nodes.append(helper.make_node("MaxPool", ["p5"], ["p6"], kernel_shape=[1, 1], strides=[2, 2]))
    for n in (4, 3, 2):
        lateral, size, coarser = f"lateral{n}.map", f"lateral{n}.size", f"p{n + 1}.larger"
        nodes.append(helper.make_node("Conv", [f"res{n}", f"lateral{n}"], [lateral], kernel_shape=[1, 1]))
        nodes.append(helper.make_node("Shape", [lateral], [size]))
        nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        nodes.append(helper.make_node("Resize", [f"p{n + 1}", "", "", size], [coarser], **nearest))
        nodes.append(helper.make_node("Add", [lateral, coarser], [f"p{n}"]))
    return nodes


def _model(
    levels: tuple[Level, ...], channels: int, weights: dict[str, NDArray[np.float32]], nodes: "Nodes"
) -> "ModelProto":
    from onnx import TensorProto, helper, numpy_helper

    def value(name: str, *shape: str | int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    last = levels[-1]
    pooled = [
        helper.make_node("GlobalAveragePool", [last.name], ["mean"]),
        helper.make_node("Flatten", ["mean"], [POOLED]),
    ]
    outputs = [value(level.name, "n", level.channels, f"h{level.stride}", f"w{level.stride}") for level in levels]
    outputs.append(value(POOLED, "n", last.channels))
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    inputs = [value(INPUT, "n", channels, "h", "w")]
    graph = helper.make_graph([*nodes, *pooled], "tiny", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
