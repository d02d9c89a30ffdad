"""Hostile files in a data set: each is broken, with a reason, before a reader has spent anything on it."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detco_core.contract.config import ViewsConfig
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.errors import DataError
from detco_core.contract.jobs import CheckJob
from detco_core.data.channels import open_pixels
from detco_core.data.images import ImageFiles, open_image
from detco_core.data.limits import check
from detco_core.data.scan import scan
from detco_core.data.synthetic import photo, write_shards
from detco_core.pixels.bitmaps import MAX_PACKED
from detco_core.pixels.bounds import MAX_BESIDES
from detco_core.pixels.pieces import MAX_PIECES
from tests.log_lines import lines_of

VIEWS = ViewsConfig(channels=3, bit_depth=16)


def encoded(format: str, **options: object) -> bytes:
    file = io.BytesIO()
    photo(0, (64, 48)).save(file, format, **options)
    return file.getvalue()


JPEG, PNG = encoded("JPEG", progressive=True), encoded("PNG")


def of_many_scans() -> bytes:
    last, end = JPEG.rindex(b"\xff\xda"), JPEG.rindex(b"\xff\xd9")
    return JPEG[:end] + JPEG[last:end] * 20_000 + JPEG[end:]


def of_many_segments() -> bytes:
    return JPEG[:2] + b"\xff\xfe\0\2" * (MAX_PIECES + 1) + JPEG[2:]


def of_many_chunks() -> bytes:
    return PNG[:33] + struct.pack(">I4sI", 0, b"noNe", 0) * (MAX_PIECES + 1) + PNG[33:]


def directory(*entries: tuple[int, int, int, int], order: str = "<", at: int = 8) -> bytes:
    """Of a classic TIFF of a small grey picture, and more: tag, type, number of values, value or place."""
    plain = ((256, 3, 1, 16), (257, 3, 1, 16), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (278, 3, 1, 16))
    both = sorted((*plain, *entries))
    shifted = [(*head, value << 16 if order == ">" and head[1] == 3 else value) for *head, value in both]
    lines = b"".join(struct.pack(f"{order}HHLL", *entry) for entry in shifted)
    return struct.pack(f"{order}H", len(both)) + lines + bytes(4)


def of_many_strips() -> bytes:
    listed = 2_000_000
    lists = directory((273, 4, listed, 8), (279, 4, listed, 8))
    return b"II*\0" + struct.pack("<L", 8) + lists + bytes(4 * listed)


def of_a_huge_tile() -> bytes:
    return b"II*\0" + struct.pack("<L", 8) + directory((322, 4, 1, 45_000), (323, 4, 1, 45_000), (324, 4, 1, 8))


def of_two_directories() -> bytes:
    """Where a BigTIFF says its directory is, there is none to fear; Pillow looks elsewhere."""
    there = struct.pack(">HHQ", 8, 0, 16) + struct.pack(">QHHQQ", 1, 256, 3, 1, 16 << 48)
    hidden = directory((273, 4, 2_000_000, 8), (279, 4, 2_000_000, 8), order=">")
    return (b"MM\0+" + there).ljust(0x80000, b"\0") + hidden + bytes(8_000_000)


def of_runs() -> bytes:
    header = struct.pack("<IiiHHIIIIII", 40, 4096, 4096, 1, 8, 1, 0, 0, 0, 1, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 58) + header + bytes(4) + b"\1\1\0\0" * 4096


def of_a_long_text() -> bytes:
    return PNG[:33] + struct.pack(">I4s", MAX_BESIDES, b"tEXt")


def array(header: str) -> bytes:
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode()


def of_a_negative_side() -> bytes:
    return array("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 1)}\n") + bytes(100)


def of_a_deep_header() -> bytes:
    return array("(" * 9000)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "scans.jpg": (of_many_scans, "more than 100 scans"),
    "segments.jpg": (of_many_segments, f"more than {MAX_PIECES} pieces"),
    "chunks.png": (of_many_chunks, f"more than {MAX_PIECES} pieces"),
    "strips.tif": (of_many_strips, "entry 273 of the TIFF lists 2000000 values"),
    "strips.jpg": (of_many_strips, "entry 273 of the TIFF lists 2000000 values"),
    "tile.tif": (of_a_huge_tile, "tiles of 45000x45000 pixels"),
    "directories.tiff": (of_two_directories, "no known range"),
    "directories.png": (of_two_directories, "not an image in a supported format"),
    "runs.bmp": (of_runs, f"may have {MAX_PACKED} pixels"),
    "side.npy": (of_a_negative_side, "is no image"),
    "header.npy": (of_a_deep_header, "not a whole .npy file"),
}
"""By name: what makes it, and what is said of it."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them, and two good pictures."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, (make, _) in HOSTILE.items():
        (folder / name).write_bytes(make())
    with (folder / "text.png").open("wb") as sparse:
        sparse.write(of_a_long_text())
        sparse.truncate(33 + 12 + MAX_BESIDES)
    for name in ("a.jpg", "z.tif"):
        photo(0, (64, 48)).save(folder / name)
    return folder


def test_a_scan_names_each_and_keeps_the_others(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    report = scan(CheckJob(folder=str(tmp_path), root=str(root)))
    assert not lines_of(caplog, "detco_core", "tifffile", "PIL")
    assert report.images == 2
    reasons = {file.path: file.reason for file in report.broken}
    assert set(reasons) == {*HOSTILE, "text.png"}
    for name, (_, said) in HOSTILE.items():
        assert said in reasons[name], name
    assert "bytes beside its pixels" in reasons["text.png"]


@pytest.mark.parametrize("name", HOSTILE)
def test_training_reads_none_whatever_it_asks_for(root: Path, name: str) -> None:
    data = (root / name).read_bytes()
    for whole in (root / name, io.BytesIO(data)):
        with pytest.raises(DataError):
            open_image(whole)
    for where in (str(root / name), io.BytesIO(data)):
        with pytest.raises(DataError):
            open_pixels(where, None, VIEWS)


def test_in_a_shard_they_are_no_better(root: Path, tmp_path: Path) -> None:
    names = ["a.jpg", *HOSTILE, "z.tif"]
    write_shards(tmp_path / "shards", [(root / name).read_bytes() for name in names], 4)
    files = ImageFiles.open(DatasetRef(name="shards@1", kind="images", root=str(tmp_path / "shards")))
    assert len(files) == len(names)
    for n in range(len(files)):
        if names[n] not in HOSTILE:
            assert open_image(files.bytes(n)).size == (64, 48)
            continue
        with pytest.raises(DataError):
            open_image(files.bytes(n))


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        check(tmp_path / "none.jpg")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    assert check(tmp_path / "a.png")
    assert not check(io.BytesIO(b"MM\0+"))
