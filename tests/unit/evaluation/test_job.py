"""The evaluation job: its events, from the sources a worker hands it."""

from pathlib import Path
from typing import Any

import pytest

from detco_core.contract.datasets import DatasetRef
from detco_core.contract.errors import InvalidDocument
from detco_core.contract.evaluations import EvaluationSpec, Report, Source
from detco_core.contract.events import Body, Progress, Reported, Started, decode
from detco_core.contract.jobs import EVENTS_FILE, EvaluateJob
from detco_core.contract.reader import read
from detco_core.evaluation.job import run
from detco_core.runtime.checkpoint import SavedFile
from detco_core.runtime.reporter import Reporter


def events(folder: Path, dataset: DatasetRef, source: Source, options: dict[str, Any]) -> list[Body]:
    reporter = Reporter(folder)
    spec = EvaluationSpec(task="knn", source=source, options=options)
    try:
        run(EvaluateJob(folder=str(folder), spec=spec, dataset=dataset), reporter)
    finally:
        reporter.close()
    return [decode(line).body for line in (folder / EVENTS_FILE).read_text().splitlines()]


def test_it_starts_tells_and_reports(tmp_path: Path, dataset: DatasetRef, bundle: Path) -> None:
    source = Source(kind="bundle", path=str(bundle))
    first, *middle, last = events(tmp_path, dataset, source, {"image_size": 64, "k": 3})
    assert isinstance(first, Started)
    assert first.environment["device"] == "cpu"
    assert middle
    assert all(isinstance(body, Progress) for body in middle)
    assert isinstance(last, Reported)
    assert read(Report, last.report).scores["top1"] >= 0


def test_a_checkpoint_and_its_random_twin_score_alike(
    tmp_path: Path, dataset: DatasetRef, untrained: SavedFile
) -> None:
    options = {"image_size": 48}
    source = Source(kind="checkpoint", path=str(untrained.path), sha256=untrained.sha256)
    (tmp_path / "a").mkdir()
    last = events(tmp_path / "a", dataset, source, options)[-1]
    assert isinstance(last, Reported)
    assert "detco checkpoint, step 0" in last.report["protocol"]


def test_an_unknown_option_is_refused_by_name(tmp_path: Path, dataset: DatasetRef, random_r18: Source) -> None:
    with pytest.raises(InvalidDocument, match="neighbours: unknown key"):
        events(tmp_path, dataset, random_r18, {"neighbours": 3})
