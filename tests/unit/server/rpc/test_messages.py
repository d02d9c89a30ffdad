"""Messages of inference: read as the same request of `/v2` would be, written so that clients count right."""

import struct
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as wire

from server.features.errors import BadTensor
from server.features.oip.inferred import Inferred
from server.features.oip.requests import InferRequest, OutputWish, Region
from server.features.oip.tensors import NUMBERS
from server.rpc import messages
from server.rpc.messages import read_infer, write_infer

Tensor = wire.ModelInferRequest.InferInputTensor


def unread(region: Region) -> memoryview:
    raise AssertionError(region)


def tensor(datatype: str, shape: list[int], **contents: Any) -> Any:
    made = Tensor(name="t", datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(made.contents, field).extend(values)
    return made


def request(*inputs: Any, raw: list[bytes] | None = None, **more: Any) -> Any:
    return wire.ModelInferRequest(model_name="m", inputs=inputs, raw_input_contents=raw or [], **more)


@pytest.mark.parametrize("datatype", list(NUMBERS))
def test_raw_contents_of_every_type(datatype: str) -> None:
    values = np.arange(6).astype(NUMBERS[datatype]).reshape(2, 3)
    (read,) = read_infer(request(tensor(datatype, [2, 3]), raw=[values.tobytes()]), unread).inputs
    np.testing.assert_array_equal(np.asarray(read.values), values)


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("UINT8", "uint_contents", [0, 255]),
        ("INT16", "int_contents", [-1, 2]),
        ("INT64", "int64_contents", [-(2**60), 1]),
        ("UINT64", "uint64_contents", [2**63, 1]),
        ("FP32", "fp32_contents", [0.5, -1.0]),
        ("FP64", "fp64_contents", [0.1, 1e300]),
    ],
)
def test_typed_contents(datatype: str, field: str, values: list[Any]) -> None:
    (read,) = read_infer(request(tensor(datatype, [2], **{field: values})), unread).inputs
    np.testing.assert_array_equal(np.asarray(read.values), np.array(values, NUMBERS[datatype]))


def test_bytes_survive_whatever_they_are() -> None:
    elements = [b"", b"\xff\x00\xd8", bytes(range(256))]
    (typed,) = read_infer(request(tensor("BYTES", [3], bytes_contents=elements)), unread).inputs
    packed = b"".join(struct.pack("<I", len(element)) + element for element in elements)
    (raw,) = read_infer(request(tensor("BYTES", [3]), raw=[packed]), unread).inputs
    assert typed.values == raw.values == elements


def test_raw_contents_skip_what_is_in_shared_memory() -> None:
    shared, plain = tensor("UINT8", [2]), tensor("UINT8", [1])
    shared.parameters["shared_memory_region"].string_param = "r"
    shared.parameters["shared_memory_byte_size"].int64_param = 2
    plain.name = "u"
    read = read_infer(request(shared, plain, raw=[b"\x07"]), lambda region: memoryview(b"\x01\x02"))
    assert [np.asarray(item.values).tolist() for item in read.inputs] == [[1, 2], [7]]


def test_wishes_and_parameters() -> None:
    message = request(tensor("UINT8", [1]), raw=[b"\x01"], id="mine")
    message.parameters["dtype"].string_param = "float16"
    message.parameters["priority"].uint64_param = 2
    message.outputs.add(name="res5").parameters["classification"].int64_param = 3
    read = read_infer(message, unread)
    assert (read.id, read.parameters, read.outputs) == (
        "mine",
        {"dtype": "float16", "priority": 2},
        (OutputWish("res5", classification=3),),
    )


@pytest.mark.parametrize(
    ("given", "seconds", "expected"),
    [
        (None, None, None),
        (None, 1e6, None),
        (None, 2.5, 2_500_000),
        (1000, 2.5, 1000),
        (9_000_000, 2.5, 2_500_000),
        (None, -1.0, 1),
    ],
)
def test_the_callers_own_deadline_counts(given: int | None, seconds: float | None, expected: int | None) -> None:
    message = request(tensor("UINT8", [1]), raw=[b"\x01"])
    if given is not None:
        message.parameters["timeout"].int64_param = given
    assert read_infer(message, unread, seconds).parameters.get("timeout") == expected


@pytest.mark.parametrize(
    ("message", "word"),
    [
        (request(), "inputs must be a list"),
        (request(tensor("UINT8", [2]), raw=[b"\x01"]), "takes 2 bytes, not 1"),
        (request(tensor("UINT8", [1]), raw=[b"\x01", b"\x02"]), "more entries"),
        (request(tensor("UINT8", [1]), Tensor(name="u", datatype="UINT8", shape=[1]), raw=[b"\x01"]), "no entry"),
        (request(tensor("UINT8", [1], uint_contents=[1]), raw=[b"\x01"]), "once"),
        (request(tensor("UINT8", [1], uint_contents=[256])), "cannot"),
        (request(tensor("UINT8", [1], fp32_contents=[1.0])), "data has 0"),
        (request(tensor("FP16", [1], fp32_contents=[1.0])), "data has 0"),
        (request(tensor("UINT8", [-1], uint_contents=[1])), "shape"),
        (request(tensor("WORD", [1])), "none of BOOL"),
    ],
)
def test_what_does_not_fit_is_named(message: Any, word: str) -> None:
    with pytest.raises(BadTensor, match=word):
        read_infer(message, unread)


def test_many_values_are_asked_for_raw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MOST_VALUES", 3)
    assert read_infer(request(tensor("UINT8", [3], uint_contents=[1, 2, 3])), unread).inputs
    with pytest.raises(BadTensor, match="4 typed contents: send them as raw_input_contents"):
        read_infer(request(tensor("UINT8", [4], uint_contents=[1, 2, 3, 4])), unread)


def test_values_beside_shared_memory_are_refused() -> None:
    twice = tensor("UINT8", [1], uint_contents=[1])
    twice.parameters["shared_memory_region"].string_param = "r"
    twice.parameters["shared_memory_byte_size"].int64_param = 1
    with pytest.raises(BadTensor, match="once"):
        read_infer(request(twice), lambda region: memoryview(b"\x01"))


def test_an_answer_has_an_entry_an_output() -> None:
    arrays: dict[str, np.ndarray] = {
        "a": np.arange(3, dtype=np.float32)[None],
        "b": np.ones((1, 2), np.float16),
        "c": np.eye(1),
    }
    asked = InferRequest((), (OutputWish("a", region=Region("r", 0, 12)), OutputWish("b"), OutputWish("c")), "mine")
    written = []
    inferred = Inferred("m", 7, arrays, {"digest": "sha256:1"})
    message = wire.ModelInferResponse()
    write_infer(message, asked, inferred, lambda region, data: written.append(bytes(data)))
    assert (message.model_name, message.model_version, message.id) == ("m", "7", "mine")
    assert message.parameters["digest"].string_param == "sha256:1"
    assert [(o.name, o.datatype, list(o.shape)) for o in message.outputs] == [
        ("a", "FP32", [1, 3]),
        ("b", "FP16", [1, 2]),
        ("c", "FP64", [1, 1]),
    ]
    assert message.outputs[0].parameters["shared_memory_byte_size"].int64_param == 12
    assert list(message.raw_output_contents) == [b"", arrays["b"].tobytes(), arrays["c"].tobytes()]
    assert written == [arrays["a"].tobytes()]


def test_an_answer_in_bytes_says_their_scale() -> None:
    inferred = Inferred("m", 7, {"a": np.array([[-2.54, 1.28]], np.float32)}, {}, int8=True)
    message = wire.ModelInferResponse()
    write_infer(message, InferRequest((), (OutputWish("a"),)), inferred, lambda region, data: None)
    assert message.outputs[0].parameters["scale"].double_param == pytest.approx(0.02)
    assert np.frombuffer(message.raw_output_contents[0], np.int8).tolist() == [-127, 64]
