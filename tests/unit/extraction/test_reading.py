"""Images come in order, whatever threads do, and each with its own error."""

from pathlib import Path

from detco_core.contract.datasets import DatasetRef
from detco_core.contract.errors import ImageError
from detco_core.contract.jobs import ExtractJob
from detco_core.extraction.opening import open_reader, open_session
from tests.unit.extraction.conftest import BROKEN


def test_items_come_in_order_from_any_place(bundle: Path, dataset: DatasetRef) -> None:
    job = ExtractJob(folder="/", bundle=str(bundle), dataset=dataset)
    reader = open_reader(job, open_session(job).manifest)
    paths = [reader.path(number) for number in range(len(reader))]
    found = list(reader.items(3, threads=4, ahead=2))
    assert [item.file.path for item in found] == paths[3:]
    broken = [item for item in reader.items(0, threads=1, ahead=1) if isinstance(item.found, ImageError)]
    assert [item.file.path for item in broken] == [BROKEN]
    assert broken[0].bytes == 0
