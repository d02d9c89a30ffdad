"""Cuts an ONNX model down to what some of its outputs need.

onnxruntime computes every node of a graph, asked for or not, and keeps dead nodes on loading (seen in 1.31's profiles):
asking a ResNet-50 for `res2` alone would cost five times what it must. The model is read as protobuf wire format, of
which this needs five field numbers, so that serving does not depend on the `onnx` package.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from detco_core.contract.errors import BundleError

# Field numbers of onnx.proto, which never change.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO = 1, 5, 12, 13
_NODE_INPUT, _NODE_OUTPUT, _NODE_ATTRIBUTE = 1, 2, 5
_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS = 6, 11
_TENSOR_NAME, _VALUE_NAME = 8, 1


class _Field(NamedTuple):
    number: int
    whole: memoryview
    """Tag, length and payload: what is copied when the field is kept."""
    payload: memoryview
    """Of a length-delimited field; empty for numbers."""


class _Node(NamedTuple):
    whole: memoryview
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Needs:
    """Which nodes each output of a model needs, without the model's bytes."""

    by_output: dict[str, frozenset[int]]
    nodes: int
    """In the whole graph."""

    def of(self, wanted: Iterable[str]) -> frozenset[int]:
        """The nodes that `wanted` need together."""
        return frozenset().union(*(self.by_output[name] for name in wanted))

    def computed_with(self, wanted: Iterable[str]) -> frozenset[str]:
        """The outputs that come for free when `wanted` are computed, `wanted` included."""
        nodes = self.of(wanted)
        return frozenset(name for name, needed in self.by_output.items() if needed <= nodes)

    def share(self, wanted: Iterable[str]) -> float:
        """The part of the nodes that `wanted` need, 0..1."""
        return len(self.of(wanted)) / self.nodes


def needs(model: bytes) -> Needs:
    """Read what each output of a serialised `ModelProto` needs; raises `BundleError` when it is no plain ONNX graph."""
    _, fields, nodes = _read(model)
    outputs = [_text(field.payload, _VALUE_NAME) for field in fields if field.number == _GRAPH_OUTPUT]
    return Needs({name: _ancestors(nodes, name) for name in outputs}, len(nodes))


def cut(model: bytes, wanted: frozenset[str]) -> bytes:
    """The model with the outputs `wanted` only, and the nodes and weights they need."""
    around, fields, nodes = _read(model)
    kept = [nodes[index] for index in sorted(frozenset().union(*(_ancestors(nodes, name) for name in wanted)))]
    used = {name for node in kept for name in node.inputs}
    graph = [node.whole for node in kept]
    graph += [field.whole for field in fields if _belongs(field, wanted, used)]
    body = b"".join(graph)
    head = _varint(_MODEL_GRAPH << 3 | 2) + _varint(len(body))
    return b"".join([*(field.whole for field in around), head, body])


def _belongs(field: _Field, outputs: frozenset[str], used: set[str]) -> bool:
    if field.number == _GRAPH_OUTPUT:
        return _text(field.payload, _VALUE_NAME) in outputs
    if field.number == _GRAPH_INITIALIZER:
        return _text(field.payload, _TENSOR_NAME) in used
    # Shapes of intermediate values are hints; those of dropped nodes would be refused as unknown names.
    return field.number != _GRAPH_VALUE_INFO


def _read(model: bytes) -> tuple[list[_Field], list[_Field], list[_Node]]:
    """What is around the graph, the graph's fields but its nodes, and the nodes, in an order in which they can run."""
    try:
        top = list(_fields(memoryview(model)))
        (graph,) = (field for field in top if field.number == _MODEL_GRAPH)
        inside = list(_fields(graph.payload))
        nodes = [_node(field) for field in inside if field.number == _GRAPH_NODE]
    except (IndexError, ValueError) as error:
        raise BundleError(f"not an ONNX model: {error}") from error
    around = [field for field in top if field.number != _MODEL_GRAPH]
    return around, [field for field in inside if field.number != _GRAPH_NODE], nodes


def _ancestors(nodes: list[_Node], output: str) -> frozenset[int]:
    """Indices of the nodes `output` depends on."""
    names = {output}
    needed: list[int] = []
    for index in range(len(nodes) - 1, -1, -1):
        if not names.isdisjoint(nodes[index].outputs):
            names.update(nodes[index].inputs)
            needed.append(index)
    return frozenset(needed)


def _node(field: _Field) -> _Node:
    parts = list(_fields(field.payload))
    for part in parts:
        if part.number == _NODE_ATTRIBUTE and any(
            inner.number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS) for inner in _fields(part.payload)
        ):
            raise BundleError("the model has control flow (If, Loop); a backbone is a plain graph")
    names = [(part.number, str(part.payload, "utf-8")) for part in parts if part.number in (_NODE_INPUT, _NODE_OUTPUT)]
    return _Node(
        field.whole,
        tuple(name for number, name in names if number == _NODE_INPUT),
        tuple(name for number, name in names if number == _NODE_OUTPUT and name),
    )


def _text(message: memoryview, number: int) -> str:
    return next((str(field.payload, "utf-8") for field in _fields(message) if field.number == number), "")


def _fields(message: memoryview) -> Iterator[_Field]:
    """The fields of one protobuf message, without copying; raises IndexError or ValueError when it ends early."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _read_varint(message, at)
        length = 0
        if tag & 7 == 0:
            _, at = _read_varint(message, at)
        elif tag & 7 == 2:
            length, at = _read_varint(message, at)
        elif tag & 7 in (1, 5):
            at += 8 if tag & 7 == 1 else 4
        else:
            raise ValueError(f"wire type {tag & 7}")
        if at + length > len(message):
            raise ValueError("ends early")
        yield _Field(tag >> 3, message[start : at + length], message[at : at + length])
        at += length


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
