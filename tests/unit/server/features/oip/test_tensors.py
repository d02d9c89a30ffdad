"""Tensors on the wire: round trips of every type, against `struct` one value at a time, and what is none."""

import base64
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.features.errors import BadTensor
from server.features.oip.tensors import NUMBERS, WireTensor, from_bytes, from_json, to_bytes, to_json

FORMATS = dict(zip(NUMBERS, "?BHIQbhiqefd", strict=True))


@pytest.mark.parametrize("datatype", NUMBERS)
def test_raw_values_are_little_endian_and_row_major(datatype: str) -> None:
    values = [1, 0, 1, 1, 0, 1]
    raw = b"".join(struct.pack(f"<{FORMATS[datatype]}", value) for value in values)
    tensor = from_bytes("x", datatype, [2, 3], memoryview(raw))
    assert isinstance(tensor.values, np.ndarray)
    assert tensor.values.tolist() == [values[:3], values[3:]]
    assert bytes(to_bytes(tensor)) == raw


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_any_bytes_survive_a_round_trip(elements: list[bytes]) -> None:
    raw = b"".join(len(e).to_bytes(4, "little") + e for e in elements)
    tensor = from_bytes("x", "BYTES", [len(elements)], memoryview(raw))
    assert tensor.values == elements
    assert bytes(to_bytes(tensor)) == raw


@pytest.mark.parametrize("datatype", [name for name in NUMBERS if name != "FP16"])
def test_json_values_may_be_nested_or_flat(datatype: str) -> None:
    values: list[Any] = [True, False] if datatype == "BOOL" else [1, 0]
    for data in (values, [[value] for value in values]):
        tensor = from_json("x", datatype, [2, 1], data, is_base64=False)
        assert json.loads(json.dumps(to_json(tensor))) == values


def test_text_and_base64_are_told_apart() -> None:
    picture = bytes(range(256))
    data = [base64.b64encode(picture).decode(), "no base64!", "ünï"]
    tensor = from_json("x", "BYTES", [3], data, is_base64=False)
    assert tensor.values == [picture, b"no base64!", "ünï".encode()]
    with pytest.raises(BadTensor, match="not base64"):
        from_json("x", "BYTES", [3], data, is_base64=True)


@pytest.mark.parametrize(
    ("datatype", "shape", "raw"),
    [
        ("FP32", [2], bytes(7)),
        ("FP32", [2], bytes(9)),
        ("FP32", [2**40, 2**40], bytes(8)),
        ("FP32", [-1], b""),
        ("FP32", [1.0], bytes(4)),
        ("FP32", [True], bytes(4)),
        ("FP32", [1] * 9, bytes(4)),
        ("BF16", [1], bytes(2)),
        ("float", [1], bytes(4)),
        ("BYTES", [1], b""),
        ("BYTES", [1], b"\1\0\0"),
        ("BYTES", [1], b"\5\0\0\0abcd"),
        ("BYTES", [1], b"\xff\xff\xff\xffabcd"),
        ("BYTES", [1], b"\1\0\0\0a\1\0\0\0b"),
        ("BYTES", [2**62], b"\1\0\0\0a"),
    ],
)
def test_bytes_that_do_not_fit_are_refused(datatype: str, shape: list[Any], raw: bytes) -> None:
    with pytest.raises(BadTensor):
        from_bytes("x", datatype, shape, memoryview(raw))


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("FP32", [1]),
        ("FP32", [[1], 2]),
        ("FP32", ["1", "2"]),
        ("FP32", [1, None]),
        ("FP32", [1, True]),
        ("FP32", [1, 10**40]),
        ("FP32", "12"),
        ("FP16", [1, 2]),
        ("UINT8", [1, 256]),
        ("UINT8", [1, -1]),
        ("UINT8", [1, 1.5]),
        ("INT64", [1, 2**63]),
        ("BOOL", [1, 0]),
        ("BYTES", [1, 2]),
        ("FP32", [[[[[[[[[[1]]]]]]]]], 2]),
    ],
)
def test_json_that_does_not_fit_is_refused(datatype: str, data: Any) -> None:
    with pytest.raises(BadTensor):
        from_json("x", datatype, [2], data, is_base64=False)


@pytest.mark.parametrize(
    "values", [np.ones(1, np.float16), np.full(1, np.nan, np.float32), np.full(1, np.inf, np.float32)]
)
def test_what_json_cannot_say_is_refused(values: np.ndarray) -> None:
    datatype = "FP16" if values.dtype == np.float16 else "FP32"
    with pytest.raises(BadTensor, match="binary"):
        to_json(WireTensor("x", datatype, values.shape, values))
