"""What may be asked of an extraction."""

from typing import Any

import pytest

from detco_core.contract.errors import InvalidDocument
from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.contract.reader import FieldError, read


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
