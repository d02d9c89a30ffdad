"""One tensor on the wire: as JSON values, or as raw little-endian bytes (the protocol's binary tensor extension)."""

import base64
import binascii
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.features.errors import BadTensor
from server.features.replies.tensor_files import raw

NUMBERS: dict[str, "np.dtype[Any]"] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
BYTES = "BYTES"
NAMES = {dtype.newbyteorder("=").name: name for name, dtype in NUMBERS.items()}
"""The protocol's name of a NumPy type."""

MAX_RANK = 8
_NO_JSON = ("FP16",)
"""Types the protocol gives no JSON form."""


@dataclass(frozen=True, slots=True)
class WireTensor:
    """A named tensor."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: NDArray[Any] | list[bytes]
    """Of `shape`; a flat list where the datatype is BYTES."""


def count_of(name: str, datatype: str, shape: object) -> int:
    """How many values a tensor of this type and shape has; raises `BadTensor` for a shape or type that is none."""
    if datatype not in NUMBERS and datatype != BYTES:
        raise BadTensor(f"{name}: datatype {str(datatype)[:40]!r} is none of {', '.join((*NUMBERS, BYTES))}")
    sizes = shape if isinstance(shape, list) and len(shape) <= MAX_RANK else [None]
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise BadTensor(f"{name}: shape must be a list of at most {MAX_RANK} whole numbers, got {str(shape)[:80]}")
    return math.prod(sizes)


def from_bytes(name: str, datatype: str, shape: Sequence[int], data: memoryview) -> WireTensor:
    """Read raw values.

    Raises:
        BadTensor: the bytes are not those of this shape and type.
    """
    count = count_of(name, datatype, list(shape))
    if datatype == BYTES:
        return WireTensor(name, datatype, tuple(shape), _elements(name, data, count))
    dtype = NUMBERS[datatype]
    if len(data) != count * dtype.itemsize:
        raise BadTensor(
            f"{name}: shape {list(shape)} of {datatype} takes {count * dtype.itemsize} bytes, not {len(data)}"
        )
    return WireTensor(name, datatype, tuple(shape), np.frombuffer(data, dtype).reshape(shape))


def from_json(name: str, datatype: str, shape: Sequence[int], data: object, *, is_base64: bool) -> WireTensor:
    """Read JSON values, flat or nested.

    Raises:
        BadTensor: they are not those of this shape and type.
    """
    count = count_of(name, datatype, list(shape))
    flat = _flat(name, data)
    if len(flat) != count:
        raise BadTensor(f"{name}: shape {list(shape)} takes {count} values, data has {len(flat)}")
    if datatype == BYTES:
        return WireTensor(name, datatype, tuple(shape), [_text(name, item, is_base64=is_base64) for item in flat])
    if datatype in _NO_JSON:
        raise BadTensor(f"{name}: {datatype} has no JSON form: send it as binary data")
    return WireTensor(name, datatype, tuple(shape), _numbers(name, datatype, flat).reshape(shape))


def to_bytes(tensor: WireTensor) -> memoryview:
    """Raw values, without a copy where they lie in one piece already."""
    if isinstance(tensor.values, list):
        return memoryview(b"".join(struct.pack("<I", len(item)) + item for item in tensor.values))
    return raw(tensor.values)


def to_json(tensor: WireTensor) -> list[Any]:
    """JSON values, flat.

    Raises:
        BadTensor: the type has no JSON form, or a value is not finite.
    """
    if isinstance(tensor.values, list):
        return [item.decode("utf-8", "replace") for item in tensor.values]
    if tensor.datatype in _NO_JSON:
        raise BadTensor(f"{tensor.name}: {tensor.datatype} has no JSON form: ask for binary data")
    if not np.isfinite(tensor.values).all():
        raise BadTensor(f"{tensor.name} has values that are not finite, which JSON cannot say: ask for binary data")
    values: list[Any] = tensor.values.ravel().tolist()
    return values


def _elements(name: str, data: memoryview, count: int) -> list[bytes]:
    """Each behind its length, four bytes, little-endian."""
    elements: list[bytes] = []
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise BadTensor(f"{name}: the last {len(data) - at} bytes are no length of an element")
        (length,) = struct.unpack_from("<I", data, at)
        at += 4 + length
        if at > len(data) or len(elements) == count:
            raise BadTensor(f"{name}: the elements do not fill the {len(data)} bytes as shape and lengths say")
        elements.append(bytes(data[at - length : at]))
    if len(elements) != count:
        raise BadTensor(f"{name}: the shape takes {count} elements, the data has {len(elements)}")
    return elements


def _flat(name: str, data: object) -> list[object]:
    if not isinstance(data, list):
        raise BadTensor(f"{name}: data must be a list")
    for _ in range(MAX_RANK):
        if not any(isinstance(item, list) for item in data):
            return data
        if not all(isinstance(item, list) for item in data):
            raise BadTensor(f"{name}: data mixes lists and values")
        data = [item for inner in data for item in inner]
    raise BadTensor(f"{name}: data is nested deeper than {MAX_RANK}")


def _numbers(name: str, datatype: str, flat: list[object]) -> NDArray[Any]:
    dtype = NUMBERS[datatype]
    kinds = {"?": (bool,), "f": (int, float)}.get(dtype.kind if dtype.kind != "b" else "?", (int,))
    if not all(type(item) in kinds for item in flat):
        raise BadTensor(f"{name}: data holds something that is no {datatype}")
    try:
        with np.errstate(over="raise"):
            return np.array(flat, dtype)
    except (OverflowError, FloatingPointError) as error:
        raise BadTensor(f"{name}: data holds a number that {datatype} cannot") from error


def _text(name: str, item: object, *, is_base64: bool) -> bytes:
    """A string is base64 where it says so or can be read so, else text."""
    if not isinstance(item, str):
        raise BadTensor(f"{name}: BYTES in JSON are strings, base64 or text")
    try:
        return base64.b64decode(item, validate=True)
    except (binascii.Error, ValueError) as error:
        if is_base64:
            raise BadTensor(f"{name}: an element is not base64") from error
        return item.encode("utf-8", "surrogatepass")
