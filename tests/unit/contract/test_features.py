"""Sizes after a resize, and the bounds on what may be asked for."""

from typing import Any

import pytest

from detco_core.contract.errors import InvalidDocument
from detco_core.contract.features import Resize, ResizeExact, ResizeShortSide, resized
from detco_core.contract.reader import read


@pytest.mark.parametrize(
    ("resize", "size"),
    [
        ("none", (640, 427)),
        (ResizeExact(height=10, width=20), (20, 10)),
        (ResizeShortSide(short_side=100), (150, 100)),  # of 149.88
        (ResizeShortSide(short_side=800), (1199, 800)),  # of 1199.06
        (ResizeShortSide(short_side=800, max_side=1000), (1000, 667)),
    ],
)
def test_sizes_after_a_resize(resize: Resize, size: tuple[int, int]) -> None:
    assert resized(640, 427, resize) == size


def test_no_side_becomes_nothing() -> None:
    assert resized(1000, 1, ResizeShortSide(short_side=1, max_side=10)) == (10, 1)


@pytest.mark.parametrize(
    "document",
    [{"short_side": 0}, {"short_side": 65537}, {"short_side": 8, "max_side": 7}, {"height": 0, "width": 1}, "all"],
)
def test_what_is_out_of_range_is_refused(document: Any) -> None:
    with pytest.raises(InvalidDocument):
        read(Resize, document)  # type: ignore[arg-type]  # a union, which the reader takes as well


@pytest.mark.parametrize(
    ("document", "wrong"),
    [
        ({"short_side": 10, "max_side": 5}, {"max_side": "must be short_side..65536"}),
        ({"height": 5}, {"width": "missing"}),
        ({"height": 5.5, "width": 4}, {"height": "expected int, got float '5.5'"}),
        (
            {"height": 5, "width": 4, "short_side": 3},
            {"short_side": "unknown key; known here: height, width"},
        ),
    ],
)
def test_of_two_forms_the_one_that_was_meant_says_what_is_wrong(document: Any, wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidDocument) as caught:
        read(Resize, document)  # type: ignore[arg-type]  # a union, which the reader takes as well
    assert {fault.path: fault.message for fault in caught.value.faults} == wrong
