"""Which layouts fit which kind, and what a path says."""

from pathlib import Path
from typing import get_args

import pytest

from detco_core.contract.datasets import DatasetKind
from detco_core.contract.errors import DataError
from detco_core.data.catalog import LAYOUTS, Place, find_source


def test_paths_of_a_labelled_data_set(labelled: Path) -> None:
    place = find_source("labelled", labelled)[0].place
    assert place("train/cat/a.jpg") == Place("train", "cat")
    assert place("val/cat/deep/er/a.jpg") == Place("val", "cat")
    for stray in ("a.jpg", "train/a.jpg", "test/cat/a.jpg"):
        assert place(stray) is None


def test_images_take_any_path(photos: Path) -> None:
    assert find_source("images", photos)[0].place("any/where.png") == Place(None, None)


@pytest.mark.parametrize("kind", sorted(set(get_args(DatasetKind)) - set(LAYOUTS)))
def test_other_kinds_are_refused_by_name(kind: DatasetKind, photos: Path) -> None:
    with pytest.raises(DataError, match=f"{kind}.*supported are images, labelled"):
        find_source(kind, photos)


def test_a_root_that_does_not_fit_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\{train,val\}/CLASS"):
        find_source("labelled", photos)
    with pytest.raises(DataError, match="nowhere is not there"):
        find_source("images", tmp_path / "nowhere")
