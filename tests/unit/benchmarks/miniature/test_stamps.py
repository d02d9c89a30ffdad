import tarfile
from pathlib import Path

import pytest

from benchmarks.miniature.stamps import labelled, open_stamps, unlabelled
from detco_core.contract.errors import DataError
from detco_core.data.images import ImageFiles


def test_pretraining_sees_photos_and_training_scenes_only(stamps: Path, tmp_path: Path) -> None:
    files = ImageFiles.open(unlabelled(stamps, tmp_path))
    folders = [str(Path(file.path).parent) for file in files]

    assert sorted(folders) == ["detect/images/train"] * 2 + ["photos"] * 6


def test_the_labelled_set_has_both_splits(stamps: Path) -> None:
    files = ImageFiles.open(labelled(stamps))

    assert {file.split for file in files} == {"train", "val"}
    assert len(files) == 24


def test_a_tar_is_unpacked_once(stamps: Path, tmp_path: Path) -> None:
    path = tmp_path / "stamps.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(stamps, arcname=".")

    root = open_stamps(path, tmp_path / "work")
    assert (root / "classify" / "train").is_dir()
    (root / "photos" / "seen").touch()
    assert (open_stamps(path, tmp_path / "work") / "photos" / "seen").exists()


def test_a_folder_is_taken_as_it_is(stamps: Path, tmp_path: Path) -> None:
    assert open_stamps(stamps, tmp_path) == stamps


def test_another_folder_is_refused_by_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match="lacks detect/images/train, classify/train, classify/val"):
        open_stamps(tmp_path, tmp_path)
