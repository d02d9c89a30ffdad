"""Files of named arrays as pieces that lie where the arrays do: the libraries' own bytes, without a copy of the data.

`zipfile` and numpy write the npz, into a file that keeps what it is given. safetensors' library only copies, so its
header is written here (https://huggingface.co/docs/safetensors, "Format"); docs/decisions/216.
"""

import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

Pieces = list[bytes | memoryview]

_DTYPES = {"float32": "F32", "float16": "F16", "int8": "I8"}
_ALIGNMENT = 8
"""Of safetensors' data, behind its header."""


def raw(array: NDArray[Any]) -> memoryview:
    """The array's little-endian bytes in C order, without a copy where they lie so already."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data


def safetensors(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> Pieces:
    """As `safetensors.numpy.save`: widest type first, then by name, so that every tensor is aligned to its type."""
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    data = [raw(arrays[name]) for name in names]
    header: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for name, piece in zip(names, data, strict=True):
        begin, end = end, end + len(piece)
        described = {"dtype": _DTYPES[arrays[name].dtype.name], "shape": arrays[name].shape}
        header[name] = described | {"data_offsets": (begin, end)}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return [len(text).to_bytes(8, "little") + text, *data]


def npz(arrays: Mapping[str, NDArray[Any]]) -> Pieces:
    """As `numpy.savez`. Stored, not deflated: that costs more than it saves on any link above 0.3 Gbit/s."""
    kept = _Kept()
    with zipfile.ZipFile(kept, "w") as archive:
        for name, array in arrays.items():
            dense = np.asarray(array, order="C")
            # With force_zip64 the member's header has the same length before and after its size is known.
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy.write_array_header_1_0(member, npy.header_data_from_array_1_0(dense))
                member.write(dense.reshape(-1).view(np.uint8).data)
    return kept.pieces


class _Kept:
    """What `zipfile` writes into. Keeps every piece uncopied; one written over an earlier one takes its place, and has
    the same length.
    """

    def __init__(self) -> None:
        self.pieces: Pieces = []
        self._starts: dict[int, int] = {}
        """Which piece begins there."""
        self._at = 0
        self._end = 0

    def write(self, piece: bytes | memoryview) -> int:
        size = len(piece)
        if self._at < self._end:
            place = self._starts[self._at]
            assert len(self.pieces[place]) == size  # noqa: S101 - a member's header, written anew once its size is known
            self.pieces[place] = piece
        elif size:
            self._starts[self._end] = len(self.pieces)
            self.pieces.append(piece)
            self._end += size
        self._at += size
        return size

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        assert whence == 0  # noqa: S101 - all that `zipfile` asks of a file it writes
        self._at = offset
        return offset

    def flush(self) -> None:
        """Nothing waits anywhere."""

    def close(self) -> None:
        """Nothing is open."""
