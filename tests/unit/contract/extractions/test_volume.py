"""The estimate of an extraction is what inference would answer."""

from typing import Any

import pytest

from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.contract.extractions.volume import box_bytes, estimate_bytes, image_bytes
from detco_core.contract.manifest import BundleFile, InputSpec, Level, Manifest
from detco_core.contract.reader import read
from detco_core.extraction.computing import selection_of
from detco_core.inference.pictures.images import from_array
from detco_core.inference.pictures.preprocess import plan

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
