"""Images that are arrays: taken as they are, or refused by their header."""

import io
from typing import Any

import numpy as np
import pytest

from detco_core.contract.errors import ImageError
from detco_core.inference.pictures.images import Limits, decode


def npy(array: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4), (5, 7, 12)])
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2"])
def test_an_array_is_taken_as_it_is(shape: tuple[int, ...], dtype: str) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    decoded = decode(npy(array))
    assert (decoded.size, decoded.channels) == ((7, 5), shape[2] if len(shape) == 3 else 1)
    assert decoded.bits == 8 * array.dtype.itemsize
    bands = decoded.picture if isinstance(decoded.picture, tuple) else decoded.picture.split()
    found = np.stack([np.asarray(band) for band in bands], axis=-1)
    np.testing.assert_array_equal(found, array.reshape(5, 7, -1))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (npy(np.zeros((2, 2), np.float32)), "unsupported"),
        (npy(np.zeros((2, 2), np.int8)), "unsupported"),
        (npy(np.zeros((2, 2), bool)), "unsupported"),
        (npy(np.zeros((0, 2), np.uint8)), "unsupported"),
        (npy(np.zeros(9, np.uint8)), "unsupported"),
        (npy(np.zeros((2, 2, 65), np.uint8)), "unsupported"),
        (npy(np.zeros((11, 10), np.uint8)), "too_large"),
        (npy(np.array([[{"a": 1}]]), allow_pickle=True), "unsupported"),
        (npy(np.zeros((5, 5), np.uint8))[:-1], "unreadable"),
        (b"\x93NUMPY", "unreadable"),
        (b"\x93NUMPY\x01\x00\x05\x00junk\n", "unreadable"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999, 1), }", "unreadable"),
    ],
)
def test_arrays_that_are_no_images(data: bytes, code: str) -> None:
    with pytest.raises(ImageError) as raised:
        decode(data, Limits(pixels=100))
    assert raised.value.code == code
