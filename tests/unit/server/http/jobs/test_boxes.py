"""Boxes are counted without parsing, whatever a piece of the file cuts."""

import json
from pathlib import Path
from typing import Any

import pytest

from server.http.jobs import boxes

MAPPING = {f"a/{n}.jpg": [[1, 2.5, 30, 4]] * (n % 3) for n in range(50)}
COCO = {"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4]}] * 20}


@pytest.mark.parametrize("piece", [7, 64, 2**20])
@pytest.mark.parametrize(("document", "count"), [(MAPPING, 49), (COCO, 20), ({}, 0)])
def test_boxes_of_both_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int, document: Any, count: int
) -> None:
    monkeypatch.setattr(boxes, "_PIECE", piece)
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(document))
    assert boxes.count_boxes(path) == count
