"""Reads the `application/octet-stream` of `/features`: a JSON header, then raw little-endian tensors.

The layout is that of the Open Inference Protocol's binary tensor extension: the response header
`Inference-Header-Content-Length` says how long the JSON is; its `outputs[]` name, type and measure the tensors in the
order in which their bytes follow. Everything is checked before a tensor is made of it.
"""

import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detco_client.errors import BadReply

LENGTH_HEADER = "Inference-Header-Content-Length"
DTYPES: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "FP16": np.dtype("<f2"),
    "INT8": np.dtype("i1"),
    "UINT8": np.dtype("u1"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
}
MAX_RANK = 8


@dataclass(frozen=True, slots=True)
class Tensor:
    """One output: `[1, C, H, W]` for a level of an image, `[1, C]` pooled."""

    name: str
    array: NDArray[Any]
    """Read-only; it shares the reply's memory."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """`level`, `image`, `stride`, and what else the service says of it."""


def parse(body: bytes, header_length: str | None) -> tuple[dict[str, Any], tuple[Tensor, ...]]:
    """The metadata and the tensors of a reply; `header_length` is the value of `LENGTH_HEADER`.

    Raises:
        BadReply: when lengths, shapes or types do not agree with the bytes there are.
    """
    length = _length(header_length, len(body))
    meta = _metadata(body[:length])
    tensors, at, view = [], length, memoryview(body)
    for output in meta["outputs"]:
        dtype, shape, size = _measures(output)
        if at + size > len(body):
            raise BadReply(f"tensor {output.get('name')!r} needs {at + size - len(body)} bytes more than were sent")
        array = np.frombuffer(view[at : at + size], dtype).reshape(shape)
        tensors.append(Tensor(str(output.get("name", "")), array, dict(output["parameters"])))
        at += size
    if at != len(body):
        raise BadReply(f"{len(body) - at} bytes are left behind the last tensor")
    return meta, tuple(tensors)


def _length(text: str | None, size: int) -> int:
    if text is None:
        raise BadReply(f"the reply has no {LENGTH_HEADER} header")
    digits = text.isascii() and text.isdecimal() and len(text) < 20
    if not digits or int(text) > size:
        raise BadReply(f"{LENGTH_HEADER} is {text[:40]!r}, the reply has {size} bytes")
    return int(text)


def _metadata(text: bytes) -> dict[str, Any]:
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadReply("the reply does not begin with JSON") from error
    if not isinstance(meta, dict) or not isinstance(meta.get("outputs"), list):
        raise BadReply("the reply's JSON has no list of outputs")
    return meta


def _measures(output: object) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Type, shape and bytes of one output, all agreeing."""
    if not isinstance(output, dict) or not isinstance(output.get("parameters"), dict):
        raise BadReply("an output of the reply has no parameters")
    name, shape, size = output.get("name"), output.get("shape"), output["parameters"].get("binary_data_size")
    dtype = DTYPES.get(str(output.get("datatype")))
    if dtype is None:
        raise BadReply(f"tensor {name!r} has the unknown type {output.get('datatype')!r}")
    if not isinstance(shape, list) or len(shape) > MAX_RANK or not all(type(n) is int and n >= 0 for n in shape):
        raise BadReply(f"tensor {name!r} has no proper shape: {str(shape)[:80]}")
    if type(size) is not int or size != math.prod(shape) * dtype.itemsize:
        raise BadReply(f"tensor {name!r} of shape {shape} cannot have {size!r} bytes")
    return dtype, tuple(shape), size
