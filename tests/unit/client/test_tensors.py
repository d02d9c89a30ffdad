import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detco_client.errors import BadReply
from detco_client.tensors import DTYPES, parse


def reply(outputs: Any, data: bytes = b"", **more: Any) -> tuple[bytes, str]:
    meta = json.dumps({"outputs": outputs, **more}).encode()
    return meta + data, str(len(meta))


def output(name: str, datatype: str, shape: Any, size: Any, **parameters: Any) -> dict[str, Any]:
    parameters = {"binary_data_size": size, **parameters}
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": parameters}


def test_tensors_are_read_from_bytes_written_by_hand() -> None:
    data = struct.pack("<6f", 1, 2, 3, 4, 5, 6) + struct.pack("<2e", 0.5, -2) + struct.pack("3b", -1, 0, 127)
    outputs = [
        output("res4", "FP32", [1, 2, 1, 3], 24, level="res4", image=0, stride=16),
        output("res5", "FP16", [1, 2], 4),
        output("q", "INT8", [3], 3, scale=0.5),
    ]
    meta, tensors = parse(*reply(outputs, data, model="detector:1"))
    assert meta["model"] == "detector:1"
    assert [tensor.name for tensor in tensors] == ["res4", "res5", "q"]
    np.testing.assert_array_equal(tensors[0].array, [[[[1, 2, 3]], [[4, 5, 6]]]])
    assert tensors[0].parameters["stride"] == 16
    np.testing.assert_array_equal(tensors[1].array, [[0.5, -2]])
    np.testing.assert_array_equal(tensors[2].array, [-1, 0, 127])
    assert not tensors[0].array.flags.writeable


@given(st.lists(st.tuples(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 4), max_size=5)), max_size=5))
def test_what_is_written_is_read_back(wanted: list[tuple[str, list[int]]]) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 100, shape).astype(DTYPES[kind]) for kind, shape in wanted]
    outputs = [output(str(n), wanted[n][0], list(a.shape), a.nbytes) for n, a in enumerate(arrays)]
    _, tensors = parse(*reply(outputs, b"".join(a.tobytes() for a in arrays)))
    for tensor, array in zip(tensors, arrays, strict=True):
        np.testing.assert_array_equal(tensor.array, array)


GOOD = output("a", "FP32", [1, 2], 8)


@pytest.mark.parametrize(
    ("outputs", "data"),
    [
        ([GOOD], b"1234567"),
        ([GOOD], b"123456789"),
        ([], b"1"),
        ([output("a", "FP32", [1, 2], 4)], b"1234"),
        ([output("a", "FP32", [1, -2], -8)], b""),
        ([output("a", "FP32", [2**40, 2**40], 8)], b"12345678"),
        ([output("a", "FP32", [1, 2.0], 8)], b"12345678"),
        ([output("a", "FP32", [True, 2], 8)], b"12345678"),
        ([output("a", "FP32", "12", 8)], b"12345678"),
        ([output("a", "FP32", [1] * 65 + [2], 8)], b"12345678"),
        ([output("a", "FP32", [1, 2], "8")], b"12345678"),
        ([output("a", "BYTES", [1], 8)], b"12345678"),
        ([output("a", "object", [1], 8)], b"12345678"),
        ([{"name": "a", "datatype": "FP32", "shape": [1, 2]}], b"12345678"),
        (["a"], b""),
        ({"a": 1}, b""),
        (None, b""),
    ],
)
def test_a_reply_that_does_not_agree_with_itself_is_refused(outputs: Any, data: bytes) -> None:
    with pytest.raises(BadReply):
        parse(*reply(outputs, data))


@pytest.mark.parametrize("length", [None, "", "-1", "1e2", "99999", "٣", "9" * 5000])
def test_a_length_that_is_none_is_refused(length: str | None) -> None:
    body, _ = reply([GOOD], b"12345678")
    with pytest.raises(BadReply):
        parse(body, length)


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b"[" * 100_000, b"\xff\xfe"])
def test_a_header_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadReply):
        parse(body, str(len(body)))


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_do_more_than_be_refused(body: bytes, length: int) -> None:
    with pytest.raises(BadReply):
        parse(body, str(length))
