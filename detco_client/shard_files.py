"""Reads the tensors of a shard by memory map, without copying: safetensors by hand, Parquet by pyarrow."""

import json
import math
import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detco_client.errors import BadReply, ClientError

_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "I8": np.dtype("i1")}
_MAX_HEADER = 2**28


def open_shard(path: Path, name: str) -> dict[str, NDArray[Any]]:
    """Its tensors by name, read-only; `name` says the format.

    Raises:
        BadReply: it is not what its name says.
        ClientError: Parquet, and pyarrow is not installed.
    """
    return _parquet(path) if name.endswith(".parquet") else _safetensors(path)


def _safetensors(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    length = int.from_bytes(mapped[:8], "little")
    if length > min(_MAX_HEADER, len(mapped) - 8):
        raise BadReply(f"{path} is no safetensors file: its header is longer than the file")
    try:
        header = json.loads(mapped[8 : 8 + length])
        return {name: _tensor(mapped, 8 + length, one) for name, one in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadReply(f"{path} is no safetensors file: {error}") from error


def _tensor(mapped: mmap.mmap, start: int, about: Any) -> NDArray[Any]:
    dtype, shape = _DTYPES[about["dtype"]], tuple(about["shape"])
    begin, end = about["data_offsets"]
    count = math.prod(shape)
    if end - begin != count * dtype.itemsize:
        raise ValueError(f"a tensor of shape {shape} cannot have {end - begin} bytes")
    array: NDArray[Any] = np.frombuffer(mapped, dtype, count, start + begin)
    return array.reshape(shape)


def _parquet(path: Path) -> dict[str, NDArray[Any]]:
    try:
        from pyarrow import parquet  # type: ignore[import-untyped]  # it brings no types
    except ImportError as error:
        raise ClientError("reading Parquet shards needs pyarrow: pip install pyarrow") from error
    table = parquet.read_table(path, memory_map=True).combine_chunks()
    names = [name for name in table.column_names if name not in ("image", "box")]
    return {name: _vectors(table.column(name)) for name in names}


def _vectors(column: Any) -> NDArray[Any]:
    width = column.type.list_size
    if not len(column):
        return np.empty((0, width), column.type.value_type.to_pandas_dtype())
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(chunks).reshape(-1, width)
