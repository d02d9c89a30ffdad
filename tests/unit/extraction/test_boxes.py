"""Files of boxes: both kinds, by path and by name, and what is wrong with those that are neither."""

from pathlib import Path
from typing import Any

import pytest

from detco_core.contract.errors import DataError
from detco_core.extraction.boxes import BoxFile
from tests.unit.extraction.conftest import write_json

IMAGES = ["a/1.jpg", "b/2.jpg", "c/2.jpg"]
COCO = {
    "images": [{"id": 7, "file_name": "1.jpg"}, {"id": 8, "file_name": "9.jpg"}],
    "annotations": [{"image_id": 7, "bbox": [1, 2, 10, 20]}, {"image_id": 7, "bbox": [0.5, 0, 1, 1]}],
}


def boxes(tmp_path: Path, document: Any) -> BoxFile:
    return BoxFile.read(Path(write_json(tmp_path / "boxes.json", document)), IMAGES)


def test_by_path(tmp_path: Path) -> None:
    found = boxes(tmp_path, {"a/1.jpg": [[1, 2, 3, 4]], "b/2.jpg": []})
    assert found.of("a/1.jpg") == ((1.0, 2.0, 3.0, 4.0),)
    assert found.of("b/2.jpg") == found.of("c/2.jpg") == ()


def test_by_name_and_of_coco(tmp_path: Path) -> None:
    assert boxes(tmp_path, {"1.jpg": [[1, 2, 3, 4]]}).of("a/1.jpg") == ((1, 2, 3, 4),)
    assert boxes(tmp_path, COCO).of("a/1.jpg") == ((1, 2, 11, 22), (0.5, 0, 1.5, 1))


def test_names_that_are_no_image_are_known(tmp_path: Path) -> None:
    assert boxes(tmp_path, {"a/1.jpg": [], "b/2.jpg": []}).unused == ()
    assert boxes(tmp_path, {"a/1.jpg": [], "2.jpg": [], "x/1.jpg": []}).unused == ("2.jpg", "x/1.jpg")
    assert boxes(tmp_path, COCO).unused == ("9.jpg",)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "is no file of boxes: expected images with their boxes"),
        ({}, "names no image of the data set"),
        ({"x.jpg": []}, "names no image of the data set; its first is 'x.jpg'"),
        ({"2.jpg": []}, "names '2.jpg', and 2 images are called so: give their paths"),
        ({"1.jpg": [[1, 2, 3]]}, r"a box of 1.jpg is \[1, 2, 3\]: expected four numbers"),
        ({"1.jpg": [[1, 2, 3, True]]}, "expected four numbers"),
        ({"1.jpg": [["1", 2, 3, 4]]}, "expected four numbers"),
        ({"1.jpg": 4}, "is no file of boxes"),
        ({"annotations": [{"image_id": 7}], "images": [{"id": 7, "file_name": "1.jpg"}]}, "'bbox' is missing"),
        ({"annotations": [{"image_id": 3}], "images": []}, "3 is missing"),
    ],
)
def test_what_is_no_file_of_boxes_is_refused_by_name(tmp_path: Path, document: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        boxes(tmp_path, document)


def test_a_file_that_is_not_there_or_no_json(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as a JSON file of boxes"):
        BoxFile.read(tmp_path / "none.json", IMAGES)
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="cannot be read as a JSON file of boxes"):
        BoxFile.read(tmp_path / "deep.json", IMAGES)
