"""Both formats, read back by their own libraries."""

from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet  # type: ignore[import-untyped]  # it brings no types
from safetensors import safe_open
from safetensors.numpy import load_file

from detco_core.extraction.atomic import stored
from detco_core.extraction.formats import write_parquet, write_safetensors


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_pieces_are_one_tensor_in_safetensors(tmp_path: Path, dtype: str) -> None:
    pieces = [np.arange(6).reshape(2, 3).astype(dtype), np.empty((0, 3), dtype), np.ones((1, 3), dtype)]
    maps = np.arange(8).reshape(1, 2, 2, 2).astype(dtype).transpose(0, 1, 3, 2)
    path = tmp_path / "a.safetensors"
    stored(path, lambda file: write_safetensors(file, {"v": pieces, "0/m": [maps]}, {"question": "q"}))
    found = load_file(path)
    np.testing.assert_array_equal(found["v"], np.concatenate(pieces))
    np.testing.assert_array_equal(found["0/m"], maps)
    assert found["v"].dtype == dtype
    with safe_open(path, "np") as opened:
        assert opened.metadata() == {"question": "q"}


def test_a_shard_of_broken_images_is_an_empty_file_of_its_format(tmp_path: Path) -> None:
    stored(tmp_path / "a", lambda file: write_safetensors(file, {}, {}))
    assert load_file(tmp_path / "a") == {}
    stored(tmp_path / "b", lambda file: write_parquet(file, [], {}, {}))
    assert parquet.read_table(tmp_path / "b").num_rows == 0


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_vectors_are_lines_of_parquet(tmp_path: Path, dtype: str) -> None:
    vectors = [np.arange(6).reshape(2, 3).astype(dtype), np.ones((1, 3), dtype)]
    rows = [("a", 0), ("a", 1), ("b", 0)]
    described = stored(tmp_path / "a", lambda file: write_parquet(file, rows, {"res5": vectors}, {"question": "q"}))
    assert described.bytes == (tmp_path / "a").stat().st_size
    table = parquet.read_table(tmp_path / "a")
    assert table.column("image").to_pylist() == ["a", "a", "b"]
    assert table.column("box").to_pylist() == [0, 1, 0]
    np.testing.assert_array_equal(np.array(table.column("res5").to_pylist(), dtype), np.concatenate(vectors))
    assert table.schema.metadata[b"question"] == b"q"
