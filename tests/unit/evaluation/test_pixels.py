"""The pixels an evaluation sees: the right square of the image, every image once, whatever loads them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from detco_core.contract.config import ViewsConfig
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.errors import DataError
from detco_core.data.synthetic import photo, write_labelled
from detco_core.evaluation import pixels
from detco_core.evaluation.pixels import CentralSquare, Splits, load_batches, open_splits


def test_the_square_is_central_and_seven_eighths_of_the_short_side() -> None:
    image = np.zeros((64, 128, 3), np.uint8)
    image[4:60, 36:92] = 255
    square = CentralSquare(56)(Image.fromarray(image))
    assert square.shape == (3, 56, 56)
    assert square.dtype == torch.uint8
    assert (square == 255).all()


def test_the_square_equals_resize_then_crop() -> None:
    """The usual order; away from the border, where this one does not see what lies beyond its square."""
    image = photo(0, (768, 512))
    resized = np.asarray(image.resize((384, 256), Image.Resampling.BILINEAR), np.int16)
    cropped = resized[16:240, 80:304]
    square = CentralSquare(224)(image).permute(1, 2, 0).numpy().astype(np.int16)
    assert np.abs(square - cropped)[2:-2, 2:-2].max() <= 1


@pytest.mark.parametrize(("dtype", "full"), [(np.uint8, 255), (np.uint16, 65535)])
def test_the_square_of_any_number_of_channels(dtype: type[np.unsignedinteger[Any]], full: int) -> None:
    """Every channel is cut as an RGB image's are, and 16 bits end on the scale of 8."""
    rgb = photo(0, (96, 64))
    array = np.asarray(rgb).astype(dtype) * dtype(full // 255)
    five = np.concatenate([array, array[..., :2]], axis=2)
    square = CentralSquare(32)(five)
    assert (square.shape, square.dtype) == ((5, 32, 32), torch.float32)
    assert torch.equal(square[3:], square[:2])
    assert (square[:3] - CentralSquare(32)(rgb).float()).abs().max() <= 1.0


def test_a_labelled_data_set_of_two_channels_and_16_bits(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for label in ("a", "b"):
            (tmp_path / split / label).mkdir(parents=True)
            np.save(tmp_path / split / label / "0.npy", random.integers(0, 65536, (40, 48, 2), np.uint16))
    splits = open_splits(labelled(tmp_path), 32, ViewsConfig(channels=2, bit_depth=16))
    (batch,) = load_batches(splits, batch_size=8, workers=0)
    assert (batch.shape, batch.dtype) == ((4, 2, 32, 32), torch.float32)
    assert 0 <= batch.min() < 100 < 150 < batch.max() <= 255
    with pytest.raises(DataError, match=r"a/0\.npy: the image has 2 channels, and views\.channels is 5"):
        list(load_batches(open_splits(labelled(tmp_path), 32, ViewsConfig(channels=5)), batch_size=8, workers=0))


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 2)])
def test_extreme_images_become_squares(size: tuple[int, int]) -> None:
    assert CentralSquare(32)(Image.new("RGB", size, (9, 8, 7)))[:, 0, 0].tolist() == [9, 8, 7]


def test_batches_hold_train_then_val_in_order(dataset: DatasetRef) -> None:
    splits = open_splits(dataset, 48)
    batches = list(load_batches(splits, batch_size=7, workers=0))
    assert [len(batch) for batch in batches] == [7, 7, 7, 3]
    expected = torch.stack([split[n][0] for split in splits for n in range(len(split))])
    assert torch.equal(torch.cat(batches), expected)


@pytest.mark.slow
def test_loader_processes_do_not_change_the_pixels(dataset: DatasetRef, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = open_splits(dataset, 48)
    here = list(load_batches(splits, batch_size=5, workers=2))
    monkeypatch.setattr(pixels, "_FEW", 0)
    there = list(load_batches(splits, batch_size=5, workers=2))
    assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))


def labelled(root: Path) -> DatasetRef:
    return DatasetRef(name="x@1", kind="labelled", root=str(root))


def test_a_broken_image_stops_the_evaluation_by_name(tmp_path: Path) -> None:
    write_labelled(tmp_path, classes=2, per_class=2, size=(40, 40))
    (tmp_path / "val" / "class-1" / "0001.jpg").write_text("not a picture")
    splits = open_splits(labelled(tmp_path), 32)
    with pytest.raises(DataError, match=r"val/class-1/0001\.jpg"):
        list(load_batches(splits, batch_size=3, workers=0))


def test_data_sets_that_cannot_be_classified_are_refused(tmp_path: Path, dataset: DatasetRef) -> None:
    with pytest.raises(DataError, match="kind 'images'; this evaluation needs a labelled data set"):
        open_splits(DatasetRef(name="x@1", kind="images", root=dataset.root), 32)
    write_labelled(tmp_path / "one", classes=1, per_class=2, size=(40, 40))
    with pytest.raises(DataError, match="one class"):
        open_splits(labelled(tmp_path / "one"), 32)
    write_labelled(tmp_path / "half", classes=2, per_class=1, size=(40, 40))
    for path in (tmp_path / "half" / "val").glob("*/*"):
        path.unlink()
    with pytest.raises(DataError, match="'val'"):
        open_splits(labelled(tmp_path / "half"), 32)


def test_splits_name_all_classes(dataset: DatasetRef) -> None:
    splits = open_splits(dataset, 48)
    assert isinstance(splits, Splits)
    assert splits.train.classes == splits.val.classes == ("class-0", "class-1", "class-2")
