"""What is asked of features in Python is read as a request is: nothing unknown is taken for its default."""

from typing import Any

import numpy as np
import pytest

from detco_core.contract.errors import InvalidDocument
from detco_core.contract.features import ResizeExact, ResizeShortSide
from detco_core.inference.selection import Selection
from detco_core.inference.wishes import Look, read_look, read_selection


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"dtype": "float64"}, "dtype: 'float64' is not one of 'float32', 'float16', 'int8'"),
        ({"dtype": np.float16}, "dtype: "),
        ({"normalize": "L2"}, "normalize: 'L2' is not one of"),
        ({"pool": "max"}, "pool: 'max' is not one of"),
        ({"pool": "gem", "gem_p": 0}, "gem_p: must be 1..100"),
        ({"gem_p": 3.0}, "gem_p: is the power of pool=gem"),
        ({"roi_size": 7}, "roi_size: says how boxes are taken: give boxes"),
        ({"sharpness": 1}, "sharpness: unknown key"),
    ],
)
def test_what_is_not_known_is_named(wishes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidDocument) as found:
        read_selection(None, wishes, has_boxes=False)
    assert words in str(found.value)


@pytest.mark.parametrize(
    ("levels", "words"), [([], "at least one"), ("res5,res5", "twice"), ([5], "levels[0]: expected")]
)
def test_levels_are_names(levels: Any, words: str) -> None:
    with pytest.raises(InvalidDocument) as found:
        read_selection(levels, {}, has_boxes=False)
    assert words in str(found.value)


def test_what_is_known_is_taken() -> None:
    assert read_selection(None, {}, has_boxes=False) == Selection()
    assert read_selection("res4, res5", {"pool": "gem", "gem_p": np.float64(2)}, has_boxes=False) == Selection(
        levels=("res4", "res5"), pool="gem", gem_p=2.0
    )
    assert read_selection(("res4",), {"roi_size": np.int64(3)}, has_boxes=True) == Selection(
        levels=("res4",), roi_size=3
    )


@pytest.mark.parametrize(
    ("resize", "read"),
    [
        (None, None),
        ("none", "none"),
        ({"short_side": 64}, ResizeShortSide(short_side=64)),
        (ResizeExact(height=4, width=5), ResizeExact(height=4, width=5)),
    ],
)
def test_a_resize_is_an_object_or_its_fields(resize: Any, read: Any) -> None:
    assert read_look(resize, "ignore") == Look(resize=read, orientation="ignore")


@pytest.mark.parametrize(("resize", "orientation"), [((64, 64), "exif"), ({"side": 64}, "exif"), (None, "upright")])
def test_another_way_of_looking_is_refused(resize: Any, orientation: str) -> None:
    with pytest.raises(InvalidDocument):
        read_look(resize, orientation)
