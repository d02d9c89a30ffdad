"""Parquet shards of a job, by image."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pyarrow import parquet  # type: ignore[import-untyped]  # it brings no types

from detco_core.contract.extractions.files import FOLDER
from detco_core.contract.jobs import ExtractJob
from detco_core.inference import Backbone
from tests.unit.extraction.conftest import BROKEN, entries, extract


def test_a_parquet_shard_holds_a_line_an_image(make_job: Callable[..., ExtractJob], bundle: Path, photos: Path) -> None:
    options = {"levels": ["res3", "res5"], "pool": "avg", "format": "parquet", "shard_images": 7}
    job = make_job(options=options)
    extract(job)
    folder = Path(job.folder) / FOLDER
    tables = [parquet.read_table(folder / name) for name in ("00000.parquet", "00001.parquet")]
    lines = [line for table in tables for line in table.to_pylist()]
    assert [line["image"] for line in lines] == [image for image in sorted(entries(job)) if image != BROKEN]
    backbone = Backbone(bundle, providers=["CPUExecutionProvider"])
    expected = backbone.features(photos / lines[0]["image"], levels=["res3", "res5"], pool="avg").tensors
    for level, vector in expected.items():
        np.testing.assert_array_equal(np.array(lines[0][level], np.float32), vector[0])
