"""Arrays as images: shapes, types, byte orders, limits, and damaged files."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from detco_core.contract.errors import DataError
from detco_core.data import arrays
from detco_core.data.arrays import array_format, read_npy, read_tiff

tifffile = pytest.importorskip("tifffile")
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9)) | st.tuples(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 7)
)


def ramp(shape: tuple[int, ...], dtype: str = "uint8") -> NDArray[np.generic]:
    return (np.arange(np.prod(shape), dtype=np.int64) * 37 % np.iinfo(dtype).max).reshape(shape).astype(dtype)


def npy(array: NDArray[np.generic], **options: bool) -> BytesIO:
    file = BytesIO()
    np.save(file, array, **options)
    return file


def tiff(array: NDArray[np.generic], **options: str) -> BytesIO:
    file = BytesIO()
    tifffile.imwrite(file, array, **options)
    return file


@given(shape=SHAPES, dtype=st.sampled_from(["|u1", "<u2", ">u2"]), fortran=st.booleans())
def test_npy_of_any_shape_order_and_depth(shape: tuple[int, ...], dtype: str, fortran: bool) -> None:
    array = np.asarray(ramp(shape, np.dtype(dtype).name), dtype=dtype, order="F" if fortran else "C")
    found = read_npy(npy(array))
    assert found.dtype == array.dtype.newbyteorder("=")
    assert found.flags.c_contiguous
    assert np.array_equal(found, array.reshape(*shape, 1) if len(shape) == 2 else array)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("bands", [2, 3, 5, 7])
def test_tiff_bands_come_last_however_they_are_stored(dtype: str, planar: str, bands: int) -> None:
    array = ramp((12, 10, bands), dtype)
    stored = array if planar == "contig" else np.moveaxis(array, -1, 0)
    found = read_tiff(tiff(stored, photometric="minisblack", planarconfig=planar)).pixels
    assert np.array_equal(found, array)


def test_tiff_of_one_band_and_of_several_pages() -> None:
    array = ramp((12, 10), "uint16")
    assert np.array_equal(read_tiff(tiff(array)).pixels, array[:, :, None])
    pages = ramp((4, 12, 10))
    assert np.array_equal(read_tiff(tiff(pages, photometric="minisblack")).pixels, pages[0][:, :, None])


def test_formats_are_known_by_their_first_bytes_in_files_named_like_one(tmp_path: Path) -> None:
    for name, content in (("a.npy", npy(ramp((2, 2)))), ("b.TIFF", tiff(ramp((8, 8)))), ("c.jpg", npy(ramp((2, 2))))):
        (tmp_path / name).write_bytes(content.getvalue())
    (tmp_path / "d.npy").write_text("text")
    (tmp_path / "e.npy").touch()
    assert [array_format(f"{tmp_path}/{name}") for name in ("a.npy", "b.TIFF", "c.jpg", "d.npy", "e.npy")] == [
        *("npy", "tiff"),
        *(None, None, None),
    ]
    assert array_format(npy(ramp((2, 2)))) == "npy"
    assert np.array_equal(read_npy(f"{tmp_path}/a.npy")[:, :, 0], ramp((2, 2)))
    assert np.array_equal(read_tiff(f"{tmp_path}/b.TIFF").pixels[:, :, 0], ramp((8, 8)))
    with pytest.raises(DataError, match="No such file"):
        array_format(f"{tmp_path}/gone.npy")


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4, 4), np.float32), "type float32 have no known range"),
        (np.zeros((4, 4), bool), "type bool have no known range"),
        (np.zeros((4,), np.uint8), "is no image"),
        (np.zeros((4, 0, 3), np.uint8), "is no image"),
        (np.zeros((2, 4, 4, 3), np.uint8), "is no image"),
        (np.zeros((2, 2, 65), np.uint8), r"65 channels \(shape \(2, 2, 65\)\)"),
        (np.array([[object()]]), "type object"),
    ],
)
def test_what_is_no_image_is_refused(array: NDArray[np.generic], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read_npy(npy(array, allow_pickle=True))


def test_sizes_are_checked_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (99_999, 99_999)}
    np.lib.format.write_array_header_1_0(huge, header)
    with pytest.raises(DataError, match="an array of 9999800001 bytes, more than the limit"):
        read_npy(huge)
    monkeypatch.setattr(arrays, "MAX_ARRAY_BYTES", 11)
    with pytest.raises(DataError, match="an array of 12 bytes, more than the limit of 11"):
        read_npy(npy(ramp((2, 2, 3))))
    monkeypatch.undo()
    monkeypatch.setattr(arrays, "MAX_PIXELS", 5)
    with pytest.raises(DataError, match="3x2 pixels, more than the limit of 5"):
        read_npy(npy(ramp((2, 3, 3))))


@pytest.mark.parametrize("length", [0, 5, 40, 130])
def test_damaged_files_are_refused(length: int) -> None:
    whole = npy(ramp((4, 4))).getvalue()
    with pytest.raises(DataError, match=r"not a whole \.npy file"):
        read_npy(BytesIO(whole[:length]))
    whole = tiff(ramp((40, 40, 5)), photometric="minisblack", planarconfig="contig").getvalue()
    with pytest.raises(DataError):
        read_tiff(BytesIO(whole[:length]))
