"""Finding image files: names, hidden files, links, exclusion."""

import os
from pathlib import Path

import pytest

from detco_core.contract.errors import DataError
from detco_core.data.listing import SUFFIXES, list_images


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_image_names_at_any_depth_sorted(tmp_path: Path) -> None:
    wanted = ["B.JPEG", "a/b/c.tiff", "a/z.png", "a.jpg", "übung.webp", *(f"suffix/x{suffix}" for suffix in SUFFIXES)]
    touch(tmp_path, *wanted, "notes.txt", "archive.jpg.zip", "jpg", "a/anim.gif")
    assert list(list_images(tmp_path).paths) == sorted(wanted)


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", ".hidden.jpg", "._a.jpg", ".cache/b.jpg", "sub/.c.png")
    assert list_images(tmp_path).paths == ("a.jpg",)


def test_links_stay_inside_the_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    touch(tmp_path, "root/a.jpg", "root/sub/b.jpg", "outside/secret.jpg")
    (root / "inner.jpg").symlink_to(root / "a.jpg")
    (root / "outer.jpg").symlink_to(outside / "secret.jpg")
    (root / "again").symlink_to(root / "sub")
    (root / "away").symlink_to(outside)
    assert list_images(root).paths == ("a.jpg", "inner.jpg", "sub/b.jpg")


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert list_images(tmp_path / "link").paths == ("a.jpg",)


def test_exclude_is_by_glob_of_the_relative_path(tmp_path: Path) -> None:
    touch(tmp_path, "keep/a.jpg", "drop/a.jpg", "drop/deep/b.jpg", "keep/thumb-1.jpg")
    assert list_images(tmp_path, ["drop/*", "*/thumb-?.jpg"]).paths == ("keep/a.jpg",)


def test_a_name_that_is_no_text_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).touch()
    listing = list_images(tmp_path)
    assert listing.paths == ("a.jpg",)
    assert [(file.path, "UTF-8" in file.reason) for file in listing.unusable] == [("caf\\udce9.jpg", True)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_may_not_be_read_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "closed/b.jpg")
    (tmp_path / "closed").chmod(0)
    try:
        listing = list_images(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert listing.paths == ("a.jpg",)
    assert [(file.path, file.reason) for file in listing.unusable] == [("closed", "Permission denied")]


def test_a_root_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere cannot be read"):
        list_images(tmp_path / "nowhere")
