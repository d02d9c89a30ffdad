"""Batches of one size give each image what it gets alone."""

from pathlib import Path

import numpy as np
import pytest

from detco_core.contract.datasets import DatasetRef
from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.contract.jobs import ExtractJob
from detco_core.extraction.computing import Computer, names_of, selection_of
from detco_core.extraction.lanes import open_lanes
from detco_core.extraction.opening import open_reader, open_session


@pytest.mark.parametrize("options", [ExtractionOptions(levels=("res3",)), ExtractionOptions(pool="avg", dtype="int8")])
def test_a_batch_is_its_images_one_by_one(
    tmp_path: Path, bundle: Path, dataset: DatasetRef, options: ExtractionOptions
) -> None:
    job = ExtractJob(folder=str(tmp_path), bundle=str(bundle), dataset=dataset, options=options)
    session = open_session(job)
    reader = open_reader(job, session.manifest)
    items = [reader.item(number) for number in range(len(reader))]
    computer = Computer(session, open_lanes(session, 1, lambda: session), reader.selection, batch_size=3)
    assert computer.window == 1
    together = computer.compute(items)
    for item, computed in zip(items, together, strict=True):
        assert computed.entry.image == item.file.path
        alone = computer.compute([item])[0]
        assert len(alone.features) == len(computed.features)
        for one, other in zip(alone.features, computed.features, strict=True):
            assert one.array.dtype == other.array.dtype
            np.testing.assert_allclose(
                one.array.astype(float), other.array.astype(float), atol=1 if options.dtype == "int8" else 1e-4
            )


def test_names_are_the_levels_or_the_one_of_assigned_regions(bundle: Path, dataset: DatasetRef) -> None:
    manifest = open_session(ExtractJob(folder="/", bundle=str(bundle), dataset=dataset)).manifest
    assert names_of(selection_of(ExtractionOptions()), manifest, regions=True) == ("res5",)
    assigned = selection_of(ExtractionOptions(levels=("res5",), roi_levels="assign"))
    assert names_of(assigned, manifest, regions=True) == ("assigned",)
