"""Archives of strangers: what is good is unpacked as it was packed, what means harm is refused before it is written."""

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from control.errors import BadArchive
from control.storage.archives import Contents, survey, unpack

MOST = 10_000
FILES = {"photos/train/cat/a.jpg": b"cat", "photos/val/dog/b.PNG": b"dog" * 50, "photos/train/cat/._a.jpg": b"mac"}


def tar_of(path: Path, files: dict[str, bytes], mode: str = "w", *more: tarfile.TarInfo) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # a mode is a literal to mypy
        archive.addfile(_info("photos/", tarfile.DIRTYPE))
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in more:
            archive.addfile(info)
    return path


def zip_of(path: Path, files: dict[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return path


def _info(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize("form", ["w", "w:gz", "w:bz2", "w:xz", "zip"])
def test_what_was_packed_comes_out(form: str, tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a", FILES) if form == "zip" else tar_of(tmp_path / "a", FILES, form)
    found = survey(path, MOST)
    size = sum(map(len, FILES.values()))
    assert found == Contents(
        files=3, bytes=size, base="photos", images=2, shards=0, is_saved=False, splits=("train", "val")
    )
    (tmp_path / "out").mkdir()
    unpack(path, tmp_path / "out", MOST)
    out = {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert out == FILES


def test_folders_that_are_not_alone_are_no_base(tmp_path: Path) -> None:
    found = survey(tar_of(tmp_path / "a.tar", {"./x/a.jpg": b"1", "b.tar": b"2", "y/dataset_dict.json": b"{}"}), MOST)
    assert (found.base, found.images, found.shards, found.is_saved, found.splits) == ("", 1, 1, False, ())
    assert survey(zip_of(tmp_path / "b.zip", {"x/state.json": b"{}", "x/d/a.arrow": b""}), MOST).is_saved


@pytest.mark.parametrize(
    "name", ["../a.jpg", "/etc/a.jpg", "x/../../a.jpg", "a\\..\\b.jpg", "x/a\nb.jpg", "x" * 300 + ".jpg", "..", "."]
)
def test_names_that_lead_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match=r"does not name a file|too long a name|no name in UTF-8"):
        survey(tar_of(tmp_path / "a.tar", {"a.jpg": b"1", name: b"2"}), MOST)
    if "\n" not in name:
        with pytest.raises(BadArchive, match=r"does not name a file|too long a name"):
            survey(zip_of(tmp_path / "a.zip", {name: b"2"}), MOST)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(kind: bytes, tmp_path: Path) -> None:
    for target in ("/etc/passwd", "a.jpg"):
        path = tar_of(tmp_path / "a.tar", {"a.jpg": b"1"}, "w", _info("b.jpg", kind, target))
        with pytest.raises(BadArchive, match=r"'b\.jpg' is no plain file"):
            survey(path, MOST)
    for mode in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO):
        with pytest.raises(BadArchive, match="is no plain file"):
            survey(zip_of(tmp_path / "a.zip", {"a.jpg": b"/etc/passwd"}, mode | 0o777), MOST)


def test_a_link_cannot_be_written_through(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").symlink_to(tmp_path)
    path = tar_of(tmp_path / "a.tar", {"a.jpg": b"1", "sub": b"2"}, "w", _info("a.jpg", tarfile.REGTYPE))
    with pytest.raises(BadArchive, match=r"a\.jpg is there twice"):
        unpack(path, tmp_path / "out", MOST)
    nested = tar_of(tmp_path / "b.tar", {"sub/a.jpg": b"1"})
    with pytest.raises(BadArchive, match="is there twice"):
        unpack(nested, tmp_path / "out", MOST)


def test_bombs_are_bounded(tmp_path: Path) -> None:
    big = {"a.jpg": bytes(MOST + 1)}
    for path in (tar_of(tmp_path / "a", big, "w:gz"), zip_of(tmp_path / "b", big)):
        assert path.stat().st_size < MOST / 10
        with pytest.raises(BadArchive, match="more than 10000 bytes unpacked"):
            survey(path, MOST)
    # A header that claims to be larger than any memory.
    header = _info("h", tarfile.XHDTYPE)
    header.size = 1 << 32
    (tmp_path / "c.gz").write_bytes(gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + bytes(100_000)))
    with pytest.raises(BadArchive, match="larger than any archive needs"):
        survey(tmp_path / "c.gz", MOST)
    (tmp_path / "d.gz").write_bytes(gzip.compress(bytes(1_000_000)))
    assert survey(tmp_path / "d.gz", MOST).files == 0


@pytest.mark.parametrize(
    "content", [b"", b"no archive at all" * 100, b"\x1f\x8b broken gzip", b"PK\x03\x04 broken zip"]
)
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(BadArchive, match="not a whole tar or zip"):
        survey(tmp_path / "a", MOST)


@pytest.mark.parametrize(
    "make", [lambda p: tar_of(p, FILES, "w:gz"), lambda p: zip_of(p, FILES), lambda p: tar_of(p, FILES)]
)
def test_one_cut_short_or_damaged_is_refused(make: Callable[[Path], Path], tmp_path: Path) -> None:
    data = make(tmp_path / "a").read_bytes()
    (tmp_path / "out").mkdir()
    (tmp_path / "a").write_bytes(data[: min(len(data) * 2 // 3, 1700)])
    with pytest.raises(BadArchive):
        unpack(tmp_path / "a", tmp_path / "out", MOST)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    data = bytearray(zip_of(tmp_path / "a.zip", {"a.jpg": b"1"}).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(BadArchive, match="encrypted"):
        survey(tmp_path / "a.zip", MOST)


def member(kind: bytes, size: int) -> bytes:
    """A header of GNU's format, which writes sizes of any length."""
    info = tarfile.TarInfo("a")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("squeeze", [bytes, gzip.compress])
@pytest.mark.parametrize(
    "header",
    [
        member(tarfile.XHDTYPE, 2**70),
        member(tarfile.XHDTYPE, 2**40),
        member(tarfile.GNUTYPE_LONGNAME, 2**40),
        member(tarfile.REGTYPE, 2**80),
    ],
    ids=["attributes", "attributes beyond memory", "name", "file"],
)
def test_a_tar_whose_header_says_too_much_is_refused(
    header: bytes, squeeze: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(squeeze(header + member(tarfile.REGTYPE, 0) + bytes(1024)))
    with pytest.raises(BadArchive):
        survey(path, 10**6)


@pytest.mark.parametrize(("at", "value"), [(30, 0xFF), (0, 0), (26, 9)], ids=["name", "mark", "length"])
def test_a_zip_that_says_one_thing_at_its_end_and_another_before_a_file_is_refused(
    at: int, value: int, tmp_path: Path
) -> None:
    path, folder = tmp_path / "a.zip", tmp_path / "files"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", b"picture")
    data = bytearray(path.read_bytes())
    data[at] = value
    path.write_bytes(data)
    folder.mkdir()
    with pytest.raises(BadArchive):
        unpack(path, folder, 10**6)


def test_a_zip_packed_in_a_way_nobody_knows_is_refused(tmp_path: Path) -> None:
    path, folder = tmp_path / "a.zip", tmp_path / "files"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", b"picture")
    data = bytearray(path.read_bytes())
    data[8] = data[data.index(b"PK\1\2") + 10] = 99
    path.write_bytes(data)
    folder.mkdir()
    with pytest.raises(BadArchive, match="compression method"):
        unpack(path, folder, 10**6)
