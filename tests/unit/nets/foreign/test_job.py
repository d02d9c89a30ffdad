"""The import job: what it writes and says, and that a refused file leaves nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from detco_core.contract.errors import WeightsError
from detco_core.contract.events import ArtifactSaved, Body, Reported, Started, decode
from detco_core.contract.jobs import EVENTS_FILE, ImportJob
from detco_core.contract.reader import read
from detco_core.contract.weights import WEIGHTS_FILE, WeightsReport
from detco_core.nets.foreign import read_foreign
from detco_core.nets.foreign.job import run
from detco_core.nets.weights import state_digest
from detco_core.runtime.checkpoint import file_digest
from detco_core.runtime.reporter import Reporter

State = dict[str, Tensor]
Save = Callable[..., Path]


def said(job: ImportJob) -> list[Body]:
    with Reporter(Path(job.folder)) as reporter:
        run(job, reporter)
    return [decode(line).body for line in (Path(job.folder) / EVENTS_FILE).read_text().splitlines()]


@pytest.fixture
def job(network: State, saved: Save, tmp_path: Path) -> ImportJob:
    path = saved({"state_dict": {"module.encoder_q." + name: value for name, value in network.items()}})
    return ImportJob(folder=str(tmp_path / "job"), path=str(path), architecture="resnet18", sha256=file_digest(path))


def test_it_writes_our_names_and_reports(job: ImportJob, backbone_state: State) -> None:
    started, artifact, reported = said(job)
    assert isinstance(started, Started)
    assert isinstance(artifact, ArtifactSaved)
    assert isinstance(reported, Reported)
    path = Path(job.folder) / WEIGHTS_FILE
    assert artifact == ArtifactSaved(
        name="weights.pth", path="weights.pth", bytes=path.stat().st_size, sha256=file_digest(path)
    )
    tensors = torch.load(path, weights_only=True)
    assert type(tensors) is dict
    assert all(torch.equal(tensors[name], value) for name, value in backbone_state.items())
    report = read(WeightsReport, reported.report)
    assert (report.architecture, report.channels, report.format) == ("resnet18", 3, "moco")
    assert report.digest == state_digest(backbone_state)
    assert report.keys.unexpected == ("module.encoder_q.fc.weight", "module.encoder_q.fc.bias")
    assert sorted(file.name for file in Path(job.folder).iterdir()) == [EVENTS_FILE, WEIGHTS_FILE]


def test_what_it_wrote_is_read_back_equal(job: ImportJob, backbone_state: State) -> None:
    said(job)
    tensors, _, report = read_foreign(Path(job.folder) / WEIGHTS_FILE, "resnet18")
    assert (report.missing, report.unexpected) == ((), ())
    assert state_digest(tensors) == state_digest(backbone_state)


def test_equal_weights_give_equal_files(job: ImportJob, backbone_state: State, saved: Save, tmp_path: Path) -> None:
    said(job)
    other = saved({"state_dict": backbone_state}, "other.pth")
    said(replace(job, folder=str(tmp_path / "again"), path=str(other), sha256=None))
    assert (tmp_path / "again" / WEIGHTS_FILE).read_bytes() == (Path(job.folder) / WEIGHTS_FILE).read_bytes()


def test_a_file_with_keys_missing_is_refused_unless_told_otherwise(job: ImportJob, network: State, saved: Save) -> None:
    path = saved({name: value for name, value in network.items() if not name.startswith("layer4.1.conv2")}, "part.pth")
    part = replace(job, path=str(path), sha256=None)
    with pytest.raises(WeightsError, match=r"lacks 1 keys .* set strict to false"):
        said(part)
    assert not (Path(job.folder) / WEIGHTS_FILE).exists()
    reported = said(replace(part, strict=False))[-1]
    assert isinstance(reported, Reported)
    assert read(WeightsReport, reported.report).keys.missing == ("layer4.1.conv2.weight",)


def test_a_file_of_another_network_leaves_nothing(job: ImportJob) -> None:
    with pytest.raises(WeightsError, match="it looks like resnet18"):
        said(replace(job, architecture="resnet50"))
    assert [file.name for file in Path(job.folder).iterdir()] == [EVENTS_FILE]
