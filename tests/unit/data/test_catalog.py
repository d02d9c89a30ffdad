"""Which layouts fit which kind, what lies at a root, and what a path says."""

import shutil
from pathlib import Path
from typing import get_args

import pytest

from detco_core.contract.datasets import DatasetFile, DatasetKind
from detco_core.contract.errors import DataError
from detco_core.data.catalog import LAYOUTS, Place, find_source, source_of
from detco_core.data.disk import Disk
from detco_core.data.file_table import tabulate
from detco_core.data.folder import FileList, Folder
from detco_core.data.rows import Rows
from detco_core.data.shards import Shards
from detco_core.data.synthetic import write_shards


def test_paths_of_a_labelled_data_set(labelled: Path) -> None:
    place = find_source("labelled", Disk(labelled))[0].place
    assert place("train/cat/a.jpg") == Place("train", "cat")
    assert place("val/cat/deep/er/a.jpg") == Place("val", "cat")
    for stray in ("a.jpg", "train/a.jpg", "test/cat/a.jpg"):
        assert place(stray) is None


def test_images_take_any_path(photos: Path) -> None:
    assert find_source("images", Disk(photos))[0].place("any/where.png") == Place(None, None)


@pytest.mark.parametrize("kind", sorted(set(get_args(DatasetKind)) - set(LAYOUTS)))
def test_other_kinds_are_refused_by_name(kind: DatasetKind, photos: Path) -> None:
    with pytest.raises(DataError, match=f"{kind}.*supported are images, labelled"):
        find_source(kind, Disk(photos))


def test_a_root_that_does_not_fit_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\{train,val\}/CLASS"):
        find_source("labelled", Disk(photos))
    with pytest.raises(DataError, match="nowhere is not there"):
        find_source("images", Disk(tmp_path / "nowhere"))


def test_the_source_follows_from_what_lies_at_the_root(photos: Path, tmp_path: Path) -> None:
    images = [path.read_bytes() for path in sorted(photos.iterdir())[:3]]
    shards = write_shards(tmp_path / "shards", images, 2)
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "state.json").touch()
    (tmp_path / "list.TXT").write_text("shards/x.jpg")
    for root, source in (
        (photos, Folder(Disk(photos))),
        (shards, Shards(Disk(shards))),
        (shards / "shard-0000.tar", Shards(Disk(shards / "shard-0000.tar"))),
        (tmp_path / "list.TXT", FileList(Disk(tmp_path / "list.TXT"))),
        (tmp_path / "rows", Rows(Disk(tmp_path / "rows"))),
    ):
        assert find_source("images", Disk(root))[1] == source
        if source != Rows(Disk(root)):
            assert source_of(Disk(root), tabulate(source.listing().files)) == source
    row = DatasetFile(path="0", bytes=1, width=1, height=1, channels=3, container=".", position=0)
    assert source_of(Disk(tmp_path / "rows"), tabulate([row])) == Rows(Disk(tmp_path / "rows"))


def test_what_is_none_of_them_is_refused_naming_all(tmp_path: Path) -> None:
    (tmp_path / "a.zip").touch()
    with pytest.raises(DataError, match=r"a \.txt that names image files.*\.tar shards.*Hugging Face datasets saved"):
        find_source("images", Disk(tmp_path / "a.zip"))


def test_images_and_shards_together_are_refused_unless_one_is_left_out(photos: Path, tmp_path: Path) -> None:
    root = write_shards(tmp_path / "both", [b"1"], 1)
    (root / "deep").mkdir()
    shutil.copy(photos / "photo-0000.jpg", root / "deep")
    with pytest.raises(DataError, match=r"both holds image files and tar shards.*exclude: '\*\.tar'"):
        find_source("images", Disk(root))
    assert find_source("images", Disk(root), ["*.tar"])[1] == Folder(Disk(root))
    assert find_source("images", Disk(root), ["deep/*"])[1] == Shards(Disk(root))
