"""Files made of pieces: byte by byte what the libraries write, read by them, and nothing of the data copied."""

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from server.features.replies.tensor_files import Pieces, npz, raw, safetensors

Arrays = dict[str, np.ndarray]

SHAPES = arrays_of.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)
ARRAY = st.sampled_from(["float32", "float16", "int8"]).flatmap(lambda dtype: arrays_of.arrays(dtype, SHAPES))
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)
TEXT = st.text(st.characters(codec="utf-8"), max_size=50)
MIXED: Arrays = {
    "1/res5": np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4),
    "0/res5": np.ones(3, np.float16),
    "none": np.zeros((0, 4, 7, 7), np.int8),
    "ü/é": np.arange(5, dtype=np.int8),
    "b": np.array([[np.nan, np.inf]], np.float32),
}


def joined(pieces: Pieces) -> bytes:
    return b"".join(pieces)


def lies_in(array: np.ndarray, pieces: Pieces) -> bool:
    return any(np.shares_memory(np.frombuffer(piece, np.uint8), array) for piece in pieces)


@settings(max_examples=60)
@given(st.dictionaries(NAMES, ARRAY, min_size=1, max_size=5), TEXT)
@example(MIXED, 'a "word"\\ \x00\x1f\x7f é \U0001f600')
def test_safetensors_is_what_its_library_writes(arrays: Arrays, text: str) -> None:
    pieces = safetensors(arrays, {"meta": text})
    assert joined(pieces) == save_safetensors(arrays, {"meta": text})
    assert all(lies_in(array, pieces) for array in arrays.values() if array.size)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(["res5", "0/res5", "11/p2", "assigned", "pooled"]), ARRAY, min_size=1), TEXT)
@example(MIXED, "é \U0001f600")
def test_npz_is_what_numpy_writes(arrays: Arrays, text: str) -> None:
    members: dict[str, Any] = {**arrays, "meta": np.array(text)}
    file = io.BytesIO()
    np.savez(file, **members)
    pieces = npz(members)
    assert joined(pieces) == file.getvalue()
    assert all(lies_in(array, pieces) for array in arrays.values() if array.size)


def equal(found: Mapping[str, Any], wanted: Arrays) -> bool:
    assert found.keys() == wanted.keys()
    return all(
        found[name].dtype == array.dtype and np.array_equal(found[name], array, equal_nan=True)
        for name, array in wanted.items()
    )


def test_the_libraries_read_them_back() -> None:
    assert equal(load_safetensors(joined(safetensors(MIXED, {}))), MIXED)
    with np.load(io.BytesIO(joined(npz(MIXED))), allow_pickle=False) as archive:
        assert equal(archive, MIXED)


def test_every_tensor_of_a_safetensors_file_is_aligned_to_its_type() -> None:
    data = joined(safetensors(MIXED, {"meta": "x" * 3}))
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for name, array in MIXED.items():
        assert (8 + length + header[name]["data_offsets"][0]) % array.itemsize == 0


@pytest.mark.parametrize("order", ["<", ">"])
def test_arrays_that_lie_otherwise_come_out_dense(order: str) -> None:
    array = np.arange(24).astype(f"{order}f4").reshape(1, 4, 3, 2)[:, ::2].transpose(0, 1, 3, 2)
    dense = np.ascontiguousarray(array, np.float32)
    assert bytes(raw(array)) == dense.tobytes()
    assert equal(load_safetensors(joined(safetensors({"a": array}, {}))), {"a": dense})
    with np.load(io.BytesIO(joined(npz({"a": array})))) as archive:
        np.testing.assert_array_equal(archive["a"], dense)
