"""Lays out the answer to an inference: JSON, then the raw data of the outputs that come as binary data."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.features.encode import Encoded
from server.features.errors import BadTensor
from server.features.oip.requests import LENGTH_HEADER, InferRequest, OutputWish, Region
from server.features.oip.tensors import BYTES, NAMES, WireTensor, to_bytes, to_json

JSON_VALUES = 2**19
"""The most values an answer gives as JSON: about 6 MB of text, and half a second."""

WriteRegion = Callable[[Region, memoryview], None]


@dataclass(frozen=True, slots=True)
class Inferred:
    """What came out of a model, by output."""

    model: str
    """As the request named it."""
    version: int
    arrays: dict[str, NDArray[Any]]
    facts: dict[str, Any]
    """Parameters of the answer."""


def lay_out(request: InferRequest, inferred: Inferred, write_region: WriteRegion) -> Encoded:
    """The answer's bytes.

    Raises:
        BadTensor: too many values for JSON, a type or a value that has no JSON form, or a region that is too small.
    """
    wishes = request.outputs or tuple(OutputWish(name) for name in inferred.arrays)
    outputs, pieces = [], []
    for wish in wishes:
        tensor = _tensor(wish, inferred.arrays[wish.name])
        described: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        if wish.region is not None:
            data = to_bytes(tensor)
            write_region(wish.region, data)
            described["parameters"] = _placed(wish.region, len(data))
        elif request.binary if wish.binary is None else wish.binary:
            data = to_bytes(tensor)
            pieces.append(data)
            described["parameters"] = {"binary_data_size": len(data)}
        else:
            described["data"] = _as_json(tensor)
        outputs.append(described)
    return _encoded(request, inferred, outputs, pieces)


def _encoded(
    request: InferRequest, inferred: Inferred, outputs: Sequence[dict[str, Any]], pieces: Sequence[memoryview]
) -> Encoded:
    document = {
        "model_name": inferred.model,
        "model_version": str(inferred.version),
        **({} if request.id is None else {"id": request.id}),
        "parameters": inferred.facts,
        "outputs": outputs,
    }
    head = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    if not pieces:
        return Encoded("application/json", [head])
    return Encoded("application/octet-stream", [head, *pieces], {LENGTH_HEADER: str(len(head))})


def _tensor(wish: OutputWish, array: NDArray[Any]) -> WireTensor:
    if wish.classification:
        return _classes(wish, array)
    return WireTensor(wish.name, NAMES[array.dtype.name], array.shape, array)


def _classes(wish: OutputWish, array: NDArray[Any]) -> WireTensor:
    """The classification extension: for every picture its highest values, as `value:index`."""
    rows = array.reshape(len(array), -1)
    top = min(wish.classification, rows.shape[1])
    order = np.argsort(-rows, axis=1, kind="stable")[:, :top]
    words = [f"{rows[n, index]:f}:{index}".encode() for n, indices in enumerate(order) for index in indices]
    return WireTensor(wish.name, BYTES, (len(rows), top), words)


def _as_json(tensor: WireTensor) -> list[Any]:
    count = len(tensor.values) if isinstance(tensor.values, list) else tensor.values.size
    if count > JSON_VALUES:
        raise BadTensor(
            f"{tensor.name} has {count} values, and JSON gives at most {JSON_VALUES}: ask for it as binary data "
            "(binary_data_output), for fewer pictures, or for the output pooled"
        )
    return to_json(tensor)


def _placed(region: Region, size: int) -> dict[str, Any]:
    where = {"shared_memory_region": region.name, "shared_memory_byte_size": size}
    return where | ({"shared_memory_offset": region.offset} if region.offset else {})
