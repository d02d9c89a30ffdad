import os
from pathlib import Path

import pytest

from control.errors import ForbiddenRoot, InvalidRequest
from control.records.store.roots import check_layout, resolve_uri


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = (tmp_path / "allowed").resolve()
    (folder / "photos").mkdir(parents=True)
    (tmp_path / "allowed-not").mkdir()
    return folder


@pytest.mark.parametrize("uri", ["{}/photos", "file://{}/photos", "file://localhost{}/photos", "{}/photos/../photos/"])
def test_what_lies_in_a_root_is_found(root: Path, uri: str) -> None:
    assert resolve_uri(uri.format(root), ["/elsewhere", str(root)]) == root / "photos"


def test_the_root_itself_and_percent_encoding(root: Path) -> None:
    assert resolve_uri(str(root), [str(root)]) == root
    (root / "a b").mkdir()
    assert resolve_uri(f"file://{root}/a%20b", [str(root)]) == root / "a b"


@pytest.mark.parametrize(
    "uri", ["/etc", "{}/..", "{}/../allowed-not", "{}-not", "file://{}/%2e%2e/allowed-not", "{}/photos/../../missing"]
)
def test_what_leaves_the_roots_is_refused(root: Path, uri: str) -> None:
    with pytest.raises(ForbiddenRoot, match="outside the folders"):
        resolve_uri(uri.format(root), [str(root)])


def test_a_symlink_is_judged_by_where_it_leads(root: Path, tmp_path: Path) -> None:
    (root / "out").symlink_to(tmp_path / "allowed-not")
    (root / "in").symlink_to(root / "photos")
    (tmp_path / "way-in").symlink_to(root / "photos")
    (root / "chain").symlink_to(root / "out")
    for uri in (root / "out", root / "chain", root / "in" / ".." / "out"):
        with pytest.raises(ForbiddenRoot):
            resolve_uri(str(uri), [str(root)])
    assert resolve_uri(str(root / "in"), [str(root)]) == root / "photos"
    assert resolve_uri(str(tmp_path / "way-in"), [str(root)]) == root / "photos"


@pytest.mark.parametrize(
    "uri",
    ["photos", "./photos", "~", "s3://bucket/x", "upload:upl_1", "file://host/x", "file:photos", "", "http://x/y"],
)
def test_only_absolute_paths_are_accepted(root: Path, uri: str) -> None:
    with pytest.raises(InvalidRequest, match=r"absolute path, or file://") as caught:
        resolve_uri(uri, [str(root), "/"])
    assert caught.value.faults[0].path == "uri"


def test_what_is_not_a_folder_is_refused(root: Path) -> None:
    (root / "file").touch()
    for name in ("file", "missing", "missing\udcff", "x" * 5000):
        with pytest.raises(InvalidRequest, match="not a folder, a list"):
            resolve_uri(str(root / name), [str(root)])
    with pytest.raises(InvalidRequest, match="NUL"):
        resolve_uri(f"{root}/a\0b", [str(root)])


def test_images_need_one_file_that_may_be_an_image(root: Path) -> None:
    folder = root / "photos"
    (folder / "notes.txt").touch()
    (folder / ".hidden.jpg").touch()
    with pytest.raises(InvalidRequest, match="no file that ends in"):
        check_layout(folder, "images")
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "A.JPG").touch()
    check_layout(folder, "images")


def test_images_may_be_listed_in_shards_or_saved_as_rows(root: Path) -> None:
    for name in ("photos/all.txt", "photos/train-0.TAR"):
        (root / name).touch()
        assert resolve_uri(str(root / name), [str(root)]) == root / name
        check_layout(root / name, "images")
        with pytest.raises(InvalidRequest, match="needs train/CLASS/"):
            check_layout(root / name, "labelled")
    check_layout(root / "photos", "images")
    (root / "rows").mkdir()
    with pytest.raises(InvalidRequest, match="nor was it saved by"):
        check_layout(root / "rows", "images")
    (root / "rows" / "state.json").touch()
    check_layout(root / "rows", "images")


def test_labelled_needs_both_splits(root: Path) -> None:
    folder = root / "photos"
    for split in ("train", "val"):
        with pytest.raises(InvalidRequest, match=f"needs {split}/CLASS/"):
            check_layout(folder, "labelled")
        (folder / split / "cat").mkdir(parents=True)
        (folder / split / "x.jpg").touch()
        with pytest.raises(InvalidRequest, match=f"needs {split}/CLASS/"):
            check_layout(folder, "labelled")
        (folder / split / "cat" / "x.png").touch()
    check_layout(folder, "labelled")


def test_kinds_that_are_not_there_are_refused_by_name(root: Path) -> None:
    with pytest.raises(InvalidRequest, match="'coco' is not one of images, labelled"):
        check_layout(root, "coco")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_has_no_images(root: Path) -> None:
    (root / "photos").chmod(0)
    with pytest.raises(InvalidRequest):
        check_layout(root / "photos", "labelled")
