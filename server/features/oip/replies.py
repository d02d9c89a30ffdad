"""Lays out the answer to an inference: JSON, then the raw data of the outputs that come as binary data."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detco_core.inference.numbers import Cast, cast
from server.features.errors import BadTensor
from server.features.oip.inferred import Inferred
from server.features.oip.requests import LENGTH_HEADER, InferRequest, OutputWish, Region
from server.features.oip.tensors import BYTES, NAMES, WireTensor, to_bytes, to_json
from server.features.replies.encoded import Encoded

JSON_VALUES = 2**19
"""The most values an output gives as JSON, or classes: at most 16 MB of text, and half a second."""
_JSON_BYTES = 160
"""That a value takes at most while it becomes JSON: itself, its place in a list, its text and a copy of that."""
_CAST_BYTES = 16
"""The same of a value on its way to int8."""
_CLASS_BYTES = 256
"""The same of a class, a word of up to 60 letters."""

WriteRegion = Callable[[Region, memoryview], None]


@dataclass(frozen=True, slots=True)
class Output:
    """One output as it leaves the server."""

    tensor: WireTensor
    binary: bool
    """Wanted as raw data, not as JSON values."""
    placed: Mapping[str, Any] | None = None
    """Where it is in shared memory, as parameters; None: it comes in the answer."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Further parameters: `scale` of int8, `overflow` of float16."""


def outputs_for(request: InferRequest, inferred: Inferred, write_region: WriteRegion) -> list[Output]:
    """Every output asked for; those of shared memory are put there. Raises `BadTensor` for a region too small."""
    outputs = []
    for wish in _wishes(request, inferred):
        tensor, facts = _tensor(wish, inferred)
        placed = None if wish.region is None else _place(tensor, wish.region, write_region)
        outputs.append(Output(tensor, _is_binary(request, wish, inferred.arrays[wish.name]), placed, facts))
    return outputs


def copied(request: InferRequest, inferred: Inferred) -> int:
    """Bytes that laying out takes at most beside the arrays: of JSON, classes and int8, not of what is binary."""
    cast = _CAST_BYTES * sum(array.size for array in inferred.arrays.values()) if inferred.int8 else 0
    return cast + sum(_copied(request, wish, inferred.arrays[wish.name]) for wish in _wishes(request, inferred))


def sent(request: InferRequest, inferred: Inferred) -> int:
    """Bytes of the outputs that come in the answer, as binary data."""
    arrays = (inferred.arrays[wish.name] for wish in _wishes(request, inferred) if wish.region is None)
    return sum(array.nbytes for array in arrays)


def lay_out(request: InferRequest, inferred: Inferred, write_region: WriteRegion) -> Encoded:
    """The answer's bytes, for HTTP.

    Raises:
        BadTensor: too many values for JSON, a type or a value that has no JSON form, or a region that is too small.
    """
    outputs, pieces = [], []
    for output in outputs_for(request, inferred, write_region):
        tensor = output.tensor
        described: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        parameters = {**output.facts, **(output.placed or {})}
        if output.placed is None and output.binary:
            pieces.append(to_bytes(tensor))
            parameters["binary_data_size"] = len(pieces[-1])
        elif output.placed is None:
            described["data"] = _as_json(tensor)
        outputs.append(described | ({"parameters": parameters} if parameters else {}))
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


def _wishes(request: InferRequest, inferred: Inferred) -> Sequence[OutputWish]:
    return request.outputs or tuple(OutputWish(name) for name in inferred.arrays)


def _copied(request: InferRequest, wish: OutputWish, array: NDArray[Any]) -> int:
    if wish.classification:
        # Ordering takes the values' negatives and an index of eight bytes for each.
        return array.nbytes + 8 * array.size + _CLASS_BYTES * len(array) * _classes_of(wish, array)
    return 0 if _is_binary(request, wish, array) or wish.region is not None else _JSON_BYTES * array.size


def _is_binary(request: InferRequest, wish: OutputWish, array: NDArray[Any]) -> bool:
    """As the output says, else as the request does; float16, which has no JSON form, also when neither says anything:
    KServe's client asks for it so.
    """
    said = request.binary if wish.binary is None else wish.binary
    return array.dtype == np.float16 and not wish.classification if said is None else said


def _classes_of(wish: OutputWish, array: NDArray[Any]) -> int:
    """How many classes each picture has; raises `BadTensor` for more than an answer gives."""
    top = min(wish.classification, array[0].size if len(array) else 0)
    if top * len(array) > JSON_VALUES:
        raise BadTensor(
            f"{wish.name}: {top} classes of each of {len(array)} pictures are asked for; an answer gives at most "
            f"{JSON_VALUES}: ask for fewer, or for the output itself"
        )
    return top


def _tensor(wish: OutputWish, inferred: Inferred) -> tuple[WireTensor, dict[str, Any]]:
    """As it leaves, and what its numbers do not say."""
    array = inferred.arrays[wish.name]
    if wish.classification:
        return _classes(wish, array), {}
    array, made = cast(array, "int8") if inferred.int8 else (array, Cast(inferred.overflow.get(wish.name, 0)))
    facts = {"scale": made.scale, "overflow": made.overflow or None}
    tensor = WireTensor(wish.name, NAMES[array.dtype.name], array.shape, array)
    return tensor, {name: value for name, value in facts.items() if value is not None}


def _classes(wish: OutputWish, array: NDArray[Any]) -> WireTensor:
    """The classification extension: for every picture its highest values, as `value:index`."""
    rows = array.reshape(len(array), -1)
    top = _classes_of(wish, array)
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


def _place(tensor: WireTensor, region: Region, write_region: WriteRegion) -> Mapping[str, Any]:
    data = to_bytes(tensor)
    write_region(region, data)
    where = {"shared_memory_region": region.name, "shared_memory_byte_size": len(data)}
    return where | ({"shared_memory_offset": region.offset} if region.offset else {})
