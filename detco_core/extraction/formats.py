"""The two formats of a shard, from the pieces its images brought. M tensors an image, C channels."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detco_core.data.sources import not_installed
from detco_core.extraction.atomic import Writing

Piece = NDArray[Any]

_DTYPES = {"float32": "F32", "float16": "F16", "int8": "I8"}
"""Names in a safetensors header."""
_ALIGNMENT = 8


def write_safetensors(file: Writing, tensors: Mapping[str, Sequence[Piece]], metadata: Mapping[str, str]) -> None:
    """Write named tensors, each given as pieces along its first axis; no second copy of them is made in memory."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    at = 0
    for name, pieces in tensors.items():
        size = sum(piece.nbytes for piece in pieces)
        shape = [sum(len(piece) for piece in pieces), *pieces[0].shape[1:]]
        header[name] = {"dtype": _DTYPES[str(pieces[0].dtype)], "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    file.write(len(text).to_bytes(8, "little") + text)
    for pieces in tensors.values():
        for piece in pieces:
            file.write(np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)


def write_parquet(
    file: Writing,
    rows: Sequence[tuple[str, int]],
    vectors: Mapping[str, Sequence[Piece]],
    metadata: Mapping[str, str],
) -> None:
    """One line a vector: its `image`, its `box` (place in the image's list), and a column a tensor, `[rows, C]`.

    Raises:
        DataError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
        from pyarrow import parquet
    except ImportError as error:
        raise not_installed("or writing Parquet shards", "pyarrow", "parquet") from error
    columns = {
        "image": pa.array([image for image, _ in rows], pa.string()),
        "box": pa.array([box for _, box in rows], pa.int32()),
    }
    for name, pieces in vectors.items():
        flat = pa.array(np.concatenate(pieces).reshape(-1))
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, pieces[0].shape[1])
    table = pa.table(columns, metadata=dict(metadata))
    parquet.write_table(table, pa.PythonFile(file, mode="w"), compression="none", use_dictionary=["image"])
