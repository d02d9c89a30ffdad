"""Labelled images: splits, classes, transform."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from detco_core.contract.datasets import DatasetRef
from detco_core.contract.errors import DataError
from detco_core.data.images import ImageFiles
from detco_core.data.labelled import LabelledImages


def to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def open_files(root: Path) -> ImageFiles:
    return ImageFiles.open(DatasetRef(name="toys@1", kind="labelled", root=str(root)))


def test_items_are_image_and_class(labelled: Path) -> None:
    images = LabelledImages(open_files(labelled), "val", to_tensor)
    assert images.classes == ("class-0", "class-1", "class-2")
    assert images.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert len(images) == 12
    pixels, label = images[5]
    assert label == 1
    with Image.open(labelled / "val" / "class-1" / "0001.jpg") as image:
        assert torch.equal(pixels, to_tensor(image))


def test_classes_are_those_of_all_splits(labelled: Path, tmp_path: Path) -> None:
    for split, name in (("train", "b"), ("train", "a"), ("val", "c")):
        (tmp_path / split / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / split / name / "x.png")
    images = LabelledImages(open_files(tmp_path), "val", to_tensor)
    assert images.classes == ("a", "b", "c")
    assert images.labels.tolist() == [2]


def test_an_unknown_split_and_a_broken_file_are_errors(labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no labelled images in split 'test'"):
        len(LabelledImages(open_files(labelled), "test", to_tensor))
    for split in ("train", "val"):
        (tmp_path / split / "a").mkdir(parents=True)
        (tmp_path / split / "a" / "x.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"x\.jpg: not an image"):
        LabelledImages(open_files(tmp_path), "train", to_tensor)[0]
