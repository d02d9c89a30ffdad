"""Reads a pickle of NumPy arrays, as detectron2's weights are, without running anything of it.

A pickle is a program. Here it is first checked instruction by instruction, then run with stand-ins of our own for the
few names that arrays need; every other name is refused before it is looked up.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

MAX_INSTRUCTIONS = 1_000_000
MAX_MESSAGE = 120

_REFUSED = {"PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "INST", "OBJ", "NEXT_BUFFER", "READONLY_BUFFER"}
"""Names by other ways than `find_class`, and buffers that are not in the file."""
_KINDS = "biuf"


class UnsafePickle(ValueError):
    """It holds more than arrays and plain values, or is damaged."""


def load_arrays(data: bytes) -> object:
    """The object of a pickle of any protocol; its NumPy arrays come as CPU tensors with memory of their own.

    Raises:
        UnsafePickle: it names anything but what arrays of numbers need, or is no whole pickle.
    """
    _check(data)
    try:
        # As detectron2 reads them: strings of Python 2 are bytes of latin1.
        return _tensors(_Unpickler(io.BytesIO(data), encoding="latin1").load())
    except UnsafePickle:
        raise
    except Exception as error:
        raise UnsafePickle(f"damaged ({type(error).__name__}: {str(error)[:MAX_MESSAGE]})") from error


def _check(data: bytes) -> None:
    """Refuse instructions that need not occur, and places in the memo that would make it huge."""
    try:
        for number, (instruction, argument, _) in enumerate(pickletools.genops(data)):
            if number >= MAX_INSTRUCTIONS:
                raise UnsafePickle(f"more than {MAX_INSTRUCTIONS} instructions")
            if instruction.name in _REFUSED:
                raise UnsafePickle(f"instruction {instruction.name}")
            if instruction.name.endswith("PUT") and int(argument or 0) > number:
                raise UnsafePickle(f"memo place {argument} after {number} instructions")
    except UnsafePickle:
        raise
    except Exception as error:
        raise UnsafePickle(f"not a whole pickle ({str(error)[:MAX_MESSAGE]})") from error


class _Dtype:
    """numpy.dtype of plain numbers."""

    def __init__(self, code: object, *_: object) -> None:
        dtype = np.dtype(code) if isinstance(code, str) and len(code) <= 3 else None
        if dtype is None or dtype.kind not in _KINDS:
            raise UnsafePickle(f"an array of {str(code)[:20]!r}, not of numbers")
        self.numpy = dtype

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "=", "|"):
            raise UnsafePickle(f"byte order {str(state[1])[:20]!r}")
        self.numpy = self.numpy.newbyteorder(state[1])


class _Array:
    """numpy.ndarray; empty until its state is set."""

    def __init__(self, *_: object) -> None:
        self.values: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        self.values = _values(raw, dtype, shape, "F" if fortran else "C")


def _values(raw: object, dtype: object, shape: object, order: object) -> NDArray[Any]:
    """An array over the bytes of the file; NumPy refuses a shape that they do not fill exactly."""
    if isinstance(raw, str):
        raw = raw.encode("latin1")
    if not (isinstance(raw, (bytes, bytearray)) and isinstance(dtype, _Dtype) and isinstance(shape, tuple)):
        raise UnsafePickle("an array without bytes, dtype or shape")
    values = np.frombuffer(raw, dtype.numpy) if len(raw) else np.empty(0, dtype.numpy)
    return values.reshape(shape, order="F" if order == "F" else "C")


def _from_buffer(raw: object, dtype: object, shape: object, order: object) -> _Array:
    array = _Array()
    array.values = _values(raw, dtype, shape, order)
    return array


def _scalar(dtype: object, raw: object) -> _Array:
    return _from_buffer(raw, dtype, (), "C")


def _encode(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise UnsafePickle("bytes that are not latin1")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How protocols before 3 write empty bytes; `bytes` itself would make as many as a number says."""
    return b""


def _reconstruct(*_: object) -> _Array:
    return _Array()


_NUMPY: Mapping[str, Callable[..., object]] = {
    "multiarray._reconstruct": _reconstruct,
    "multiarray.scalar": _scalar,
    "numeric._frombuffer": _from_buffer,
}
_STAND_INS: Mapping[str, Callable[..., object]] = {
    "numpy.ndarray": _Array,
    "numpy.dtype": _Dtype,
    "_codecs.encode": _encode,
    "__builtin__.bytes": _no_bytes,
    "collections.OrderedDict": dict,
    # NumPy 2 gave its inner modules another name.
    **{f"numpy.{core}.{name}": stand_in for core in ("core", "_core") for name, stand_in in _NUMPY.items()},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        name = f"{module_name}.{global_name}"
        if name not in _STAND_INS:
            raise UnsafePickle(f"it names {name[:MAX_MESSAGE]}, which is no array")
        return _STAND_INS[name]


def _tensors(value: object) -> object:
    """The same dicts with tensors for arrays, two levels deep: as far as weights lie."""
    if not isinstance(value, dict):
        return value
    return {key: _inner(item) for key, item in value.items()}


def _inner(value: object) -> object:
    if isinstance(value, dict):
        return {key: _tensor(item) for key, item in value.items()}
    return _tensor(value)


def _tensor(value: object) -> object:
    if not isinstance(value, _Array) or value.values is None:
        return value
    native = value.values.astype(value.values.dtype.newbyteorder("="), order="C")
    try:
        return torch.from_numpy(native)
    except TypeError as error:
        raise UnsafePickle(f"an array of {native.dtype}, which torch does not have") from error
