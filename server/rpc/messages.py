"""Between the messages of inference and what the service takes and gives; what fits is judged there, as for `/v2`."""

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from server.features.errors import BadTensor
from server.features.oip.inferred import Inferred
from server.features.oip.replies import WriteRegion, outputs_for
from server.features.oip.requests import InferRequest, ReadRegion, read_document
from server.features.oip.tensors import BYTES, to_bytes
from server.features.options import FeatureOptions

MOST_VALUES = 2**22
"""Of a tensor as typed contents, which become objects one by one: enough for the pixels of a photo of 800 x 1333."""
_CONTENTS = {
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    **{"BOOL": "bool_contents", "INT64": "int64_contents", "UINT64": "uint64_contents"},
    **{"FP32": "fp32_contents", "FP64": "fp64_contents", BYTES: "bytes_contents"},
}
"""By datatype, where typed contents are. FP16 has none."""
_MICROSECONDS = 10**6
_PARAMETERS = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}


def read_infer(message: Any, read_region: ReadRegion, seconds: float | None = None) -> InferRequest:
    """Read a `ModelInferRequest`; `seconds` until the caller's own deadline bound its parameter `timeout`.

    Raises:
        BadTensor: naming what does not fit.
    """
    raw = iter(message.raw_input_contents)
    pieces: list[memoryview] = []
    inputs = [_input(tensor, raw if message.raw_input_contents else None, pieces) for tensor in message.inputs]
    if next(raw, None) is not None:
        raise BadTensor("raw_input_contents has more entries than there are inputs that need one")
    parameters = _parameters(message.parameters)
    document = {
        "id": message.id or None,
        "parameters": {**parameters, **_timeout(parameters.get("timeout"), seconds)},
        "inputs": inputs,
        "outputs": [{"name": o.name, "parameters": _parameters(o.parameters)} for o in message.outputs] or None,
    }
    given = iter(pieces)
    return read_document(document, lambda name, size: next(given), read_region)


def write_infer(message: Any, request: InferRequest, inferred: Inferred, write_region: WriteRegion) -> None:
    """Write the answer into a new `ModelInferResponse`, its tensors as raw contents.

    Raises:
        BadTensor: a region of shared memory is too small.
    """
    message.model_name, message.model_version, message.id = inferred.model, str(inferred.version), request.id or ""
    _put(message.parameters, inferred.facts)
    for output in outputs_for(request, inferred, write_region):
        tensor = output.tensor
        described = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        _put(described.parameters, {**output.facts, **(output.placed or {})})
        # Clients count entries by outputs: one that is in shared memory has an empty one.
        message.raw_output_contents.append(b"" if output.placed else bytes(to_bytes(tensor)))


def _input(tensor: Any, raw: Iterator[bytes] | None, pieces: list[memoryview]) -> dict[str, Any]:
    """One input as the JSON of `/v2` would have it; what JSON has no place for is laid with `pieces`."""
    described = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    parameters = _parameters(tensor.parameters)
    parameters.pop("binary_data_size", None)
    has_contents = tensor.HasField("contents")
    if "shared_memory_region" in parameters:
        return {**described, "parameters": parameters, **({"data": []} if has_contents else {})}
    if raw is None and tensor.datatype != BYTES:
        return {**described, "parameters": parameters, "data": _values(tensor)}
    if raw is not None and has_contents:
        raise BadTensor(f"{tensor.name[:200]}: has contents beside raw_input_contents: give its values once")
    piece = _packed(tensor.contents.bytes_contents) if raw is None else next(raw, None)
    if piece is None:
        raise BadTensor(f"{tensor.name[:200]}: raw_input_contents has no entry for it")
    pieces.append(memoryview(piece))
    return {**described, "parameters": {**parameters, "binary_data_size": len(piece)}}


def _values(tensor: Any) -> list[Any]:
    """Typed contents."""
    found = getattr(tensor.contents, _CONTENTS.get(tensor.datatype, "bytes_contents"))
    if len(found) > MOST_VALUES:
        raise BadTensor(f"{tensor.name[:200]}: has {len(found)} typed contents: send them as raw_input_contents")
    return list(found)


def _packed(elements: Any) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def _timeout(given: object, seconds: float | None) -> Mapping[str, int]:
    """The sooner of what is asked for and what the caller will wait, in microseconds; nothing where that is ours."""
    usual = FeatureOptions().timeout_ms * 1000
    asked = given if type(given) is int and given > 0 else usual
    if seconds is None or seconds * _MICROSECONDS >= asked:
        return {}
    return {"timeout": max(1, int(seconds * _MICROSECONDS))}


def _parameters(found: Any) -> dict[str, Any]:
    choices = ((key, value, value.WhichOneof("parameter_choice")) for key, value in found.items())
    return {key: getattr(value, choice) for key, value, choice in choices if choice is not None}


def _put(parameters: Any, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        setattr(parameters[key], _PARAMETERS[type(value)], value)
