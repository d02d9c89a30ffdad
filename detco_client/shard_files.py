"""Reads the tensors of a shard by memory map, without copying: safetensors by hand, Parquet by pyarrow."""

import json
import math
import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detco_client.errors import BadReply, ClientError

_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "I8": np.dtype("i1")}
_MAX_HEADER = 2**28


def open_shard(path: Path, name: str) -> Mapping[str, NDArray[Any]]:
    """Its tensors by name, read-only; `name` says the format. In safetensors each is looked at when it is asked for.

    Raises:
        BadReply: it is not what its name says.
        ClientError: Parquet, and pyarrow is not installed.
    """
    return _parquet(path) if name.endswith(".parquet") else _Mapped(path)


class _Mapped(Mapping[str, NDArray[Any]]):
    """Those of a safetensors file: a shard may hold thousands, of which one is wanted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        length = int.from_bytes(self._bytes[:8], "little")
        if length > min(_MAX_HEADER, len(self._bytes) - 8):
            raise BadReply(f"{path} is no safetensors file: its header is longer than the file")
        self._start = 8 + length
        try:
            self._about: dict[str, Any] = json.loads(self._bytes[8 : self._start])
            self._about.pop("__metadata__", None)
        except (ValueError, AttributeError, TypeError) as error:
            raise BadReply(f"{path} is no safetensors file: {error}") from error

    def __len__(self) -> int:
        return len(self._about)

    def __iter__(self) -> Iterator[str]:
        return iter(self._about)

    def __contains__(self, name: object) -> bool:
        return name in self._about

    def __getitem__(self, name: str) -> NDArray[Any]:
        about = self._about[name]
        try:
            return _tensor(self._bytes, self._start, about)
        except (ValueError, KeyError, TypeError) as error:
            raise BadReply(f"{self._path} is no safetensors file: {error}") from error


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
