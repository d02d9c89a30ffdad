"""Reads an inference request: JSON, then the raw data of the tensors that say they are binary."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.features.errors import BadTensor
from server.features.oip.tensors import WireTensor, from_bytes, from_json

LENGTH_HEADER = "Inference-Header-Content-Length"
MAX_TENSORS = 64


@dataclass(frozen=True, slots=True)
class Region:
    """A place in registered shared memory."""

    name: str
    offset: int
    size: int


ReadRegion = Callable[[Region], memoryview]
TakeData = Callable[[str, object], memoryview]
"""The data that comes next, for a tensor's name and the size it says; raises `BadTensor` when it is not there."""


@dataclass(frozen=True, slots=True)
class OutputWish:
    """One output asked for."""

    name: str
    binary: bool | None = None
    """None: as the request's default."""
    classification: int = 0
    """The most highly valued so many, as `value:index`; 0: the tensor itself."""
    region: Region | None = None
    """Where to put it instead of the answer."""


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What is asked."""

    inputs: tuple[WireTensor, ...]
    outputs: tuple[OutputWish, ...] | None = None
    """None: all."""
    id: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    binary: bool | None = None
    """Whether outputs come as binary data when they do not say; None: what has no JSON form does."""
    raw: bytes | None = None
    """The whole body, of the only input (a length header of 0)."""


def read_request(body: bytes, header_length: str | None, read_region: ReadRegion) -> InferRequest:
    """Read a body; `header_length` is the value of `LENGTH_HEADER`.

    Raises:
        BadTensor: naming what does not fit.
    """
    length = _length(header_length, len(body))
    if header_length is not None and length == 0:
        return InferRequest((), raw=body, binary=True)
    document = _document(body[:length])
    data = _Rest(memoryview(body)[length:])
    request = read_document(document, data.take, read_region)
    data.check_used_up()
    return request


def read_document(document: Mapping[str, Any], take: TakeData, read_region: ReadRegion) -> InferRequest:
    """Read a request that is parsed already; `take` gives the data of the tensors that have a `binary_data_size`.

    Raises:
        BadTensor: naming what does not fit.
    """
    inputs = tuple(_input(item, take, read_region) for item in _tensors(document, "inputs"))
    wishes = None if document.get("outputs") is None else tuple(map(_wish, _tensors(document, "outputs")))
    parameters = _parameters(document, "the request")
    return InferRequest(
        inputs=inputs,
        outputs=wishes,
        id=_identity(document.get("id")),
        parameters=parameters,
        binary=_flag("the request", parameters, "binary_data_output"),
    )


class _Rest:
    """What follows the JSON, handed out from the front."""

    def __init__(self, rest: memoryview) -> None:
        self._rest = rest

    def take(self, name: str, size: object) -> memoryview:
        if type(size) is not int or size < 0:
            raise BadTensor(f"{name}: binary_data_size must be a whole number, got {str(size)[:40]}")
        if size > len(self._rest):
            raise BadTensor(f"{name}: binary_data_size is {size}, and {len(self._rest)} bytes are left in the body")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def check_used_up(self) -> None:
        if self._rest:
            raise BadTensor(f"{len(self._rest)} bytes are left in the body behind the last binary tensor")


def _length(text: str | None, size: int) -> int:
    if text is None:
        return size
    if not (text.isascii() and text.isdigit() and len(text) < 20) or int(text) > size:
        raise BadTensor(f"{LENGTH_HEADER} must be at most the body's {size} bytes, got {text[:40]!r}")
    return int(text)


def _document(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadTensor(f"the request does not begin with JSON: {str(error)[:200]}") from error
    if not isinstance(document, dict):
        raise BadTensor("the request must be a JSON object")
    return document


def _identity(given: object) -> str | None:
    """Given back as it came; a number as text, since the protocol has it as such."""
    if given is not None and type(given) not in (str, int):
        raise BadTensor("id must be a text")
    return None if given is None else str(given)


def _tensors(document: Mapping[str, Any], key: str) -> Sequence[dict[str, Any]]:
    items = document.get(key)
    if not isinstance(items, list) or not items or len(items) > MAX_TENSORS:
        raise BadTensor(f"{key} must be a list of 1..{MAX_TENSORS} tensors")
    if not all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in items):
        raise BadTensor(f"{key}: every tensor is an object with a name")
    names = [item["name"] for item in items]
    if len(set(names)) < len(names):
        raise BadTensor(f"{key} names a tensor twice")
    return items


def _input(item: dict[str, Any], take: TakeData, read_region: ReadRegion) -> WireTensor:
    name, datatype, shape = item["name"][:200], str(item.get("datatype")), item.get("shape")
    parameters = _parameters(item, name)
    region = _region(name, parameters)
    given = [key for key in ("data", "binary_data_size") if key in item or key in parameters]
    if len(given) + (region is not None) != 1:
        raise BadTensor(f"{name}: give its values once: as data, binary_data_size or a shared_memory_region")
    if region is not None:
        return from_bytes(name, datatype, _shape(shape), read_region(region))
    if given == ["binary_data_size"]:
        return from_bytes(name, datatype, _shape(shape), take(name, parameters["binary_data_size"]))
    is_base64 = parameters.get("content_type") == "base64"
    return from_json(name, datatype, _shape(shape), item["data"], is_base64=is_base64)


def _shape(shape: object) -> Any:
    # `count_of` judges its items; here only that there are some to judge.
    return shape if isinstance(shape, list) else [shape]


def _wish(item: dict[str, Any]) -> OutputWish:
    name = item["name"]
    parameters = _parameters(item, name)
    binary, top = _flag(name, parameters, "binary_data"), parameters.get("classification", 0)
    if type(top) is not int or not 0 <= top < 2**31:
        raise BadTensor(f"{name}: classification must be a whole number")
    return OutputWish(name, binary, top, _region(name, parameters))


def _flag(name: str, parameters: Mapping[str, Any], key: str) -> bool | None:
    flag = parameters.get(key)
    if flag is not None and not isinstance(flag, bool):
        raise BadTensor(f"{name[:200]}: {key} must be true or false")
    return flag


def _region(name: str, parameters: Mapping[str, Any]) -> Region | None:
    region = parameters.get("shared_memory_region")
    if region is None:
        return None
    size, offset = parameters.get("shared_memory_byte_size"), parameters.get("shared_memory_offset", 0)
    if not isinstance(region, str) or not all(type(number) is int and number >= 0 for number in (size, offset)):
        raise BadTensor(f"{name}: shared memory takes a region's name, a byte size and an offset")
    return Region(region, offset, size)  # type: ignore[arg-type]  # an int, by the line above


def _parameters(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    parameters = item.get("parameters", {})
    if not isinstance(parameters, dict):
        raise BadTensor(f"parameters of {name[:200]} must be an object")
    return parameters
