"""Job files: each verb's job survives the file, and a file that is none is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from detco_core.contract.datasets import DatasetRef
from detco_core.contract.errors import InvalidDocument
from detco_core.contract.evaluations import EvaluationSpec, Source
from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.contract.features import ResizeExact
from detco_core.contract.jobs import (
    VERBS,
    CheckJob,
    EvaluateJob,
    ExportJob,
    ExtractJob,
    ImportJob,
    PretrainJob,
    read_job,
)
from detco_core.contract.presets import preset
from detco_core.contract.reader import canonical_json

DATASET = DatasetRef(name="photos@1", kind="images", root="/data/photos")
JOBS: dict[str, Any] = {
    "pretrain": PretrainJob(folder="/job", config=preset("smoke"), dataset=DATASET, resume="/job/a.pt"),
    "evaluate": EvaluateJob(
        folder="/job", spec=EvaluationSpec(task="knn", source=Source(kind="random"), options={"k": 3}), dataset=DATASET
    ),
    "export": ExportJob(folder="/job", checkpoint="/job/a.pt"),
    "check": CheckJob(folder="/job", root="/data", exclude=("*.tmp",)),
    "import": ImportJob(folder="/job", path="/data/detco_200ep.pth", format="detco"),
    "extract": ExtractJob(
        folder="/job", bundle="/b", dataset=DATASET, options=ExtractionOptions(resize=ResizeExact(height=8, width=9))
    ),
}


def test_there_is_an_example_for_every_verb() -> None:
    assert JOBS.keys() == VERBS.keys()


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_job_survives_its_file(verb: str, tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_text(canonical_json(JOBS[verb]))
    assert read_job(VERBS[verb], path) == JOBS[verb]


@pytest.mark.parametrize("text", ["", "{", '"text"', "[1]", "{}"])
def test_a_file_that_is_no_job_is_refused_by_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_text(text)
    with pytest.raises(InvalidDocument, match=r"job\.json is not valid"):
        read_job(ExportJob, path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument, match=r"none\.json is not valid: cannot be read as JSON: .*No such file"):
        read_job(CheckJob, tmp_path / "none.json")


@pytest.mark.parametrize("formats", [["torchvision"], [], ["onnx", "onnx"], ["onnx", "caffe"]])
def test_an_export_holds_onnx_and_each_format_once(formats: list[str], tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps({"folder": "/j", "checkpoint": "/c", "formats": formats}))
    with pytest.raises(InvalidDocument, match="formats"):
        read_job(ExportJob, tmp_path / "job.json")


@pytest.mark.parametrize("sources", [{}, {"checkpoint": "/c", "weights": "/w"}])
def test_an_export_is_of_a_checkpoint_or_of_weights(sources: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps({"folder": "/j", **sources}))
    with pytest.raises(InvalidDocument, match="give exactly one of checkpoint and weights"):
        read_job(ExportJob, tmp_path / "job.json")
    (tmp_path / "job.json").write_text(json.dumps({"folder": "/j", "weights": "/w", "architecture": "resnet18"}))
    assert read_job(ExportJob, tmp_path / "job.json").checkpoint is None
