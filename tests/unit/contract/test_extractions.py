"""What may be asked of an extraction, and that the estimate is what inference would answer."""

from pathlib import Path
from typing import Any

import pytest

from detco_core.contract.errors import DataError, InvalidDocument
from detco_core.contract.extractions import (
    ExtractionOptions,
    ShardHead,
    box_bytes,
    estimate_bytes,
    image_bytes,
    read_index,
    read_line,
)
from detco_core.contract.manifest import BundleFile, InputSpec, Level, Manifest
from detco_core.contract.reader import FieldError, read
from detco_core.extraction.computing import selection_of
from detco_core.inference.images import from_array
from detco_core.inference.preprocess import plan

LEVELS = (Level(name="p2", channels=4, stride=4), Level(name="p3", channels=4, stride=8))


def manifest(**spec: Any) -> Manifest:
    return Manifest(
        architecture="tiny",
        weights_digest="sha256:0",
        levels=LEVELS,
        pooled=4,
        input=InputSpec(**spec),
        files={"onnx": BundleFile(path="m", bytes=1, sha256="sha256:0")},
        parity={},
    )


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"levels": []}, "levels"),
        ({"levels": ["p2", "p2"]}, "levels"),
        ({"format": "parquet"}, "format"),
        ({"format": "zip"}, "format"),
        ({"pool": "avg", "gem_p": 3.0}, "gem_p"),
        ({"pool": "gem", "gem_p": 0.5}, "gem_p"),
        ({"roi_size": 65}, "roi_size"),
        ({"shard_bytes": 1}, "shard_bytes"),
        ({"shard_images": 0}, "shard_images"),
        ({"batch_size": 0}, "batch_size"),
        ({"resize": {"short_side": 0}}, "resize.short_side"),
        ({"dtype": "float64"}, "dtype"),
        ({"box": 1}, "box"),
    ],
)
def test_what_cannot_be_is_refused_by_name(document: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        read(ExtractionOptions, document)
    assert [fault.path for fault in refused.value.faults] == [path]


@pytest.mark.parametrize("document", [{"roi_size": 7}, {"roi_levels": "each"}])
def test_words_about_regions_need_boxes(document: dict[str, Any]) -> None:
    options = read(ExtractionOptions, document)
    options.require_boxes(True)
    with pytest.raises(FieldError, match="give boxes_from"):
        options.require_boxes(False)


@pytest.mark.parametrize("spec", [{}, {"multiple": 32}, {"short_side": 48, "max_side": 80}])
@pytest.mark.parametrize(
    "document",
    [
        {"levels": ["p2", "p3"]},
        {"dtype": "float16", "resize": {"short_side": 50}},
        {"levels": ["p2"], "pool": "avg", "dtype": "int8"},
        {"levels": ["p2", "p3"], "roi_levels": "assign", "roi_size": 3},
    ],
)
def test_the_estimate_is_what_inference_measures(spec: dict[str, Any], document: dict[str, Any]) -> None:
    import numpy as np

    model, options = manifest(**spec), read(ExtractionOptions, document)
    geometry = plan(from_array(np.zeros((61, 97), np.uint8)), model.input, options.resize)
    selection = selection_of(options)
    assert image_bytes(options, model, 97, 61) == selection.size_of(model, geometry)
    assert 3 * box_bytes(options, model) == selection.size_of(model, geometry, 3)


def test_an_estimate_is_of_all_images_or_of_all_boxes() -> None:
    model, options = manifest(), ExtractionOptions(levels=("p2",), pool="avg")
    assert estimate_bytes(options, model, [(10, 10, 3), (20, 10, 4)], None) == 7 * 16
    assert estimate_bytes(options, model, [(10, 10, 3)], 5) == 5 * 16


def test_an_index_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no index\.json"):
        read_index(tmp_path / "index.json")
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be read"):
        read_index(tmp_path / "index.json")
    with pytest.raises(DataError, match="line 1 is damaged"):
        read_line(ShardHead, "?", "line 1")
