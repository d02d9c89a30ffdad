"""Boxes that are none, and such as lie partly outside: refused with their place named, or clipped and flagged."""

import json
from typing import Any

import pytest

from tests.integration.serving.conftest import SIDE, Door

WHOLE = [0, 0, SIDE, SIDE]


@pytest.mark.parametrize(
    "box",
    [
        [float("nan"), 0, 5, 5],
        [0, 0, float("inf"), 5],
        [0, 0, 5],
        [0, 0, 5, 5, 5],
        ["0", 0, 5, 5],
        [True, 0, 5, 5],
        [None, 0, 5, 5],
        [[0], 0, 5, 5],
        {"x1": 0},
        "0,0,5,5",
        7,
        [10**400, 0, 5, 5],
    ],
    ids=str,
)
def test_what_is_no_box_is_named(door: Door, box: Any) -> None:
    document = door.refused(door.features(door.good, boxes=[WHOLE, box]), 422, "invalid_document")
    assert "boxes" in json.dumps(document["errors"])


@pytest.mark.parametrize(
    "box",
    [
        [20, 5, 10, 9],
        [5, 20, 9, 10],
        [5, 5, 5, 9],
        [5, 5, 5, 5],
        [SIDE, 0, SIDE + 9, 9],
        [-9, -9, 0, 0],
        [1e300, 1e300, 1.1e300, 1.1e300],
        [-1e308, 0, -1e307, 5],
    ],
    ids=str,
)
def test_a_box_of_nothing_is_refused(door: Door, box: list[float]) -> None:
    document = door.refused(door.features(door.good, boxes=[WHOLE, box]), 422, "image_boxes")
    assert "1" in document["detail"]


@pytest.mark.parametrize("box", [[-5, -5, 9, 9], [40, 40, 1e308, 1e308], [-1e308, -1e308, 1e308, 1e308]], ids=str)
def test_a_box_partly_outside_is_clipped_and_flagged(door: Door, box: list[float]) -> None:
    answer = door.features(door.good, boxes=[WHOLE, box])
    assert door.document(answer)["images"][0]["boxes"] == {"count": 2, "clipped": [1]}
    clipped = [min(max(value, 0), SIDE) for value in box]
    inside = door.tensors(door.features(door.good, boxes=[clipped]))["res5"]
    assert (door.tensors(answer)["res5"][1] == inside[0]).all()


def test_no_boxes_are_an_empty_tensor(door: Door) -> None:
    assert door.tensors(door.features(door.good, boxes=[]))["res5"].shape == (0, 10, 7, 7)


@pytest.mark.parametrize("count", [1001, 10**6])
def test_too_many_boxes(door: Door, count: int) -> None:
    request = '{"boxes":[[' + "[0,0,9,9]," * (count - 1) + "[0,0,9,9]]]}"
    files: list[Any] = [("image", ("a.png", door.good, "image/png")), ("request", (None, request))]
    answer = door.client.post("/features", files=files)
    assert answer.status_code in (413, 422), answer.text[:300]
    door.refused(answer, answer.status_code, answer.json()["code"])


@pytest.mark.parametrize("text", ["[" * 3000, "[[0,0,5,5]" * 50, "NaN", "-", "\0", "[[0,0,5,5],]", "{}"])
def test_boxes_that_are_no_json_list(door: Door, text: str) -> None:
    door.refused(door.features(door.good, boxes=text), 422, "invalid_document")


@pytest.mark.parametrize("size", [0, -1, 10**6, 1.5, "7x7"])
def test_a_grid_that_is_none(door: Door, size: Any) -> None:
    answer = door.features(door.good, boxes=[WHOLE], roi_size=size)
    assert answer.status_code in (413, 422), answer.text
