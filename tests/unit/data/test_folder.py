"""Finding image files: names, hidden files, links, exclusion; and lists of them, with every bad line named."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from detco_core.contract.datasets import IMAGE_SUFFIXES
from detco_core.contract.errors import DataError
from detco_core.data.disk import Disk
from detco_core.data.file_table import Member
from detco_core.data.folder import MAX_LINE, FileList, Folder
from detco_core.data.sources import Source


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(source: Source, exclude: Sequence[str] = ()) -> list[str]:
    return [file.path for file in source.listing(exclude).files]


def test_image_names_at_any_depth_sorted(tmp_path: Path) -> None:
    wanted = [
        "B.JPEG",
        "a/b/c.tiff",
        "a/z.png",
        "a.jpg",
        "übung.webp",
        *(f"suffix/x{suffix}" for suffix in IMAGE_SUFFIXES),
    ]
    touch(tmp_path, *wanted, "notes.txt", "archive.jpg.zip", "jpg", "a/anim.gif")
    assert found(Folder(Disk(tmp_path))) == sorted(wanted)


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", ".hidden.jpg", "._a.jpg", ".cache/b.jpg", "sub/.c.png")
    assert found(Folder(Disk(tmp_path))) == ["a.jpg"]


def test_links_stay_inside_the_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    touch(tmp_path, "root/a.jpg", "root/sub/b.jpg", "outside/secret.jpg")
    (root / "inner.jpg").symlink_to(root / "a.jpg")
    (root / "outer.jpg").symlink_to(outside / "secret.jpg")
    (root / "again").symlink_to(root / "sub")
    (root / "away").symlink_to(outside)
    assert found(Folder(Disk(root))) == ["a.jpg", "inner.jpg", "sub/b.jpg"]


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert found(Folder(Disk(tmp_path / "link"))) == ["a.jpg"]


def test_exclude_is_by_glob_of_the_relative_path(tmp_path: Path) -> None:
    touch(tmp_path, "keep/a.jpg", "drop/a.jpg", "drop/deep/b.jpg", "keep/thumb-1.jpg")
    assert found(Folder(Disk(tmp_path)), ["drop/*", "*/thumb-?.jpg"]) == ["keep/a.jpg"]


def test_a_name_that_is_no_text_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).touch()
    listing = Folder(Disk(tmp_path)).listing()
    assert [file.path for file in listing.files] == ["a.jpg"]
    assert [(file.path, "UTF-8" in file.reason) for file in listing.unusable] == [("caf\\udce9.jpg", True)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_may_not_be_read_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "closed/b.jpg")
    (tmp_path / "closed").chmod(0)
    try:
        listing = Folder(Disk(tmp_path)).listing()
        assert [file.path for file in listing.files] == ["a.jpg"]
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert [(file.path, file.reason) for file in listing.unusable] == [("closed", "Permission denied")]


def test_what_lies_there_now_is_read_only_if_it_is_what_was_listed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(tmp_path, "root/a.jpg", "root/b.jpg", "root/c.jpg", "outside/secret.jpg")
    (root / "a.jpg").write_bytes(b"12345")
    (root / "loop.jpg").symlink_to(root / "loop.jpg")
    source = Folder(Disk(root))
    assert source.open(Member("a.jpg", bytes=5)) == f"{root}/a.jpg"
    for name in ("b.jpg", "c.jpg"):
        (root / name).unlink()
    (root / "b.jpg").symlink_to(tmp_path / "outside" / "secret.jpg")
    os.mkfifo(root / "c.jpg")
    for name, size, reason in [
        ("a.jpg", 4, "it has 5 bytes, and had 4"),
        ("b.jpg", 0, "leads out of"),
        ("c.jpg", 0, "not a file"),
        ("d.jpg", 0, "No such file"),
        ("loop.jpg", 0, "Too many levels"),
    ]:
        with pytest.raises(DataError, match=reason):
            source.open(Member(name, bytes=size))
    (root / "list.txt").touch()
    with pytest.raises(DataError, match="leads out of"):
        FileList(Disk(root / "list.txt"), ()).open(Member("b.jpg"))
    assert FileList(Disk(root / "list.txt"), (str(tmp_path / "outside"),)).open(Member("b.jpg")) == f"{root}/b.jpg"


def test_a_root_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere cannot be read"):
        Folder(Disk(tmp_path / "nowhere")).listing()


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A folder `data` with files, and beside it one that no list in `data` may name."""
    touch(tmp_path, "data/a.jpg", "data/deep/b.png", "data/deep/odd name.dat", "data/übung.webp", "outside/secret.jpg")
    return tmp_path / "data"


def write_list(folder: Path, *lines: str | bytes, allowed: tuple[str, ...] | None = ()) -> FileList:
    encoded = [line if isinstance(line, bytes) else line.encode() for line in lines]
    (folder / "train.txt").write_bytes(b"\n".join(encoded))
    return FileList(Disk(folder / "train.txt"), allowed)


def test_a_list_names_files_relative_to_its_folder_or_by_absolute_paths_in_it(listed: Path) -> None:
    source = write_list(listed, "deep/odd name.dat", "", f"{listed}/a.jpg", "./deep/../deep/b.png\r", "übung.webp")
    listing = source.listing()
    assert [file.path for file in listing.files] == ["a.jpg", "deep/b.png", "deep/odd name.dat", "übung.webp"]
    assert list(listing.unusable) == []
    assert source.open(Member("deep/b.png")) == f"{listed}/deep/b.png"
    assert found(source, ["deep/*"]) == ["a.jpg", "übung.webp"]


def test_every_bad_line_is_named_by_its_number(listed: Path) -> None:
    (listed / "out.jpg").symlink_to(listed.parent / "outside" / "secret.jpg")
    (listed / "in.jpg").symlink_to(listed / "a.jpg")
    outside = listed.parent / "outside" / "secret.jpg"
    lines: list[str | bytes] = [
        "a.jpg",
        "gone.jpg",
        "deep",
        "../outside/secret.jpg",
        str(outside),
        "out.jpg",
        b"\xff.jpg",
        "a\0b",
        "./a.jpg",
    ]
    listing = write_list(listed, *lines, "in.jpg").listing()
    assert [file.path for file in listing.files] == ["a.jpg", "in.jpg"]
    reasons = {file.path: file.reason for file in listing.unusable}
    assert list(reasons) == [f"train.txt:{number}" for number in range(2, 10)]
    assert [reason.split(":")[0] for reason in reasons.values()] == [
        "there is no file 'gone.jpg'",
        "there is no file 'deep'",
        "'../outside/secret.jpg' is outside the folders that data may lie in",
        f"'{outside}' is outside the folders that data may lie in",
        "'out.jpg' is outside the folders that data may lie in",
        "the line is not UTF-8",
        "the line holds a NUL character",
        "a.jpg was named by line 1 already",
    ]


def test_lines_may_lead_into_allowed_folders_and_by_hand_anywhere(listed: Path) -> None:
    outside = listed.parent / "outside" / "secret.jpg"
    (listed / "out.jpg").symlink_to(outside)
    lines = (str(outside), "../outside/secret.jpg", "out.jpg", "a.jpg", "/etc/hostname")
    source = write_list(listed, *lines, allowed=(str(listed.parent / "outside"),))
    listing = source.listing()
    paths = [file.path for file in listing.files]
    assert paths == [str(outside), "a.jpg", "out.jpg"]
    reasons = {file.path: file.reason for file in listing.unusable}
    assert sorted(reasons) == ["train.txt:2", "train.txt:5"]
    assert "was named by line 1" in reasons["train.txt:2"]
    assert "/etc/hostname" in reasons["train.txt:5"]
    assert [source.open(Member(path)) for path in paths] == [str(outside), f"{listed}/a.jpg", f"{listed}/out.jpg"]
    by_hand = write_list(listed, str(outside), "/no/such.jpg", allowed=None).listing()
    assert [file.path for file in by_hand.files] == [str(outside)]
    assert [file.reason for file in by_hand.unusable] == ["there is no file '/no/such.jpg'"]


def test_lines_that_cannot_be_followed_are_bad_lines(listed: Path) -> None:
    (listed / "loop.jpg").symlink_to(listed / "loop.jpg")
    listing = write_list(listed, "x" * 300, "loop.jpg", "a.jpg/b.jpg").listing()
    assert list(listing.files) == []
    assert [file.path for file in listing.unusable] == ["train.txt:1", "train.txt:2", "train.txt:3"]


def test_a_list_reached_by_a_link_and_absolute_lines_by_the_real_folder(listed: Path) -> None:
    (listed.parent / "link").symlink_to(listed)
    write_list(listed, f"{listed}/a.jpg", f"{listed.parent}/link/deep/b.png")
    assert found(FileList(Disk(listed.parent / "link" / "train.txt"))) == ["a.jpg", "deep/b.png"]


def test_what_is_no_list_is_refused(listed: Path) -> None:
    with pytest.raises(DataError, match="line 2 is longer than"):
        write_list(listed, "a.jpg", "x" * (MAX_LINE + 1)).listing()
    with pytest.raises(DataError, match=r"none\.txt cannot be read"):
        FileList(Disk(listed / "none.txt")).listing()
