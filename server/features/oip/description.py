"""What a model takes and gives, in the protocol's form and in Triton's."""

from typing import Any

from detco_core.contract.manifest import Manifest
from detco_core.inference.sessions.session import POOLED
from server.features.models.loaded import Loaded
from server.features.oip.targets import IMAGE, Target
from server.features.oip.tensors import BYTES

PLATFORM = "onnxruntime_onnx"
PIXEL_TYPES = {8: ("UINT8", "FP32"), 16: ("UINT16", "FP32")}
"""By the bits of a model's images, the types its pixels come in; the first is the one described."""
_TRITON = {"BYTES": "TYPE_STRING", "UINT8": "TYPE_UINT8", "UINT16": "TYPE_UINT16", "FP32": "TYPE_FP32"}


def metadata(target: Target, loaded: Loaded) -> dict[str, Any]:
    """Inputs and outputs; -1 is any size."""
    datatype, shape = _input_of(target, loaded.manifest)
    return {
        "name": target.name,
        "versions": [str(loaded.version.number)],
        "platform": PLATFORM,
        "inputs": [{"name": target.takes, "datatype": datatype, "shape": shape}],
        "outputs": [
            {"name": name, "datatype": "FP32", "shape": [-1, channels, *rest]}
            for name, channels, rest in outputs_of(loaded.manifest)
        ],
    }


def config(target: Target, loaded: Loaded) -> dict[str, Any]:
    """The same in Triton's form."""
    described = metadata(target, loaded)
    return {
        "name": target.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "version_policy": {"specific": {"versions": [loaded.version.number]}},
        # Shapes below hold the batch dimension themselves.
        "max_batch_size": 0,
        "input": _in_tritons_words(described["inputs"]),
        "output": _in_tritons_words(described["outputs"]),
    }


def outputs_of(manifest: Manifest) -> list[tuple[str, int, list[int]]]:
    """Name, channels and further dimensions."""
    return [*((level.name, level.channels, [-1, -1]) for level in manifest.levels), (POOLED, manifest.pooled, [])]


def _input_of(target: Target, manifest: Manifest) -> tuple[str, list[int]]:
    if target.takes == IMAGE:
        return BYTES, [-1]
    return PIXEL_TYPES[manifest.input.bit_depth][0], [-1, manifest.input.channels, -1, -1]


def _in_tritons_words(tensors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": item["name"], "data_type": _TRITON[item["datatype"]], "dims": item["shape"]} for item in tensors]
