"""Where weights come from at step 0."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from detco_core.contract.config import RunConfig
from detco_core.contract.errors import CheckpointError, InvalidDocument, WeightsError
from detco_core.contract.events import Body, Started, Warned
from detco_core.contract.jobs import Init, PretrainJob
from detco_core.method.catalog import make_method
from detco_core.method.detco import DetCo
from detco_core.runtime import checkpoint
from detco_core.runtime.reporter import Reporter
from detco_core.runtime.stop import StopRequest
from detco_core.train.init import require_init, start_from
from detco_core.train.job import run

Configs = Callable[..., RunConfig]
Jobs = Callable[..., PretrainJob]


def seeded(config: RunConfig, seed: int) -> DetCo:
    torch.manual_seed(seed)
    method = make_method(config)
    with torch.no_grad():
        # Moved apart, so that a test sees which of the two encoders a weight came from.
        for weight in method.key.parameters():
            weight.add_(1)
    return method


def other_run(path: Path, config: RunConfig) -> Init:
    """A checkpoint as another run leaves it."""
    info = checkpoint.CheckpointInfo(
        step=9,
        epoch=1.0,
        steps=9,
        steps_per_epoch=9,
        config=config,
        dataset="other@1",
        dataset_digest=None,
        world_size=1,
        software={},
    )
    saved = checkpoint.save(path, info, {"method": seeded(config, 5).state_dict()})
    return Init(kind="checkpoint", path=str(path), sha256=saved.sha256)


def test_another_run_gives_its_query_to_both_encoders(tiny_config: Configs, tmp_path: Path) -> None:
    config = tiny_config()
    init, method = other_run(tmp_path / "other.pt", config), seeded(config, 1)
    queues = method.queues.globals.clone()
    record, report = start_from(init, method, config)
    theirs = seeded(config, 5).query.state_dict()
    for encoder in (method.query, method.key):
        assert all(torch.equal(value, theirs[name]) for name, value in encoder.state_dict().items())
    assert torch.equal(method.queues.globals, queues)
    assert not any(weight.requires_grad for weight in method.key.parameters())
    assert (report.code, report.details["missing"], report.details["unexpected"]) == ("init_keys", [], [])
    assert record["matched"] == report.details["matched"] == len(theirs)
    assert (record["source"], record["format"]) == (init.path, "checkpoint")


def test_heads_of_another_shape_start_random(tiny_config: Configs, tmp_path: Path) -> None:
    """Wider embeddings: the first layer of a head is taken over, the last is not."""
    init = other_run(tmp_path / "other.pt", tiny_config())
    wider = tiny_config(method__dim=16)
    method = seeded(wider, 1)
    _, report = start_from(init, method, wider)
    assert report.details["missing"]
    assert not any(key.startswith("backbone.") for key in report.details["missing"])
    assert report.details["missing"] == report.details["unexpected"]
    theirs, ours = seeded(tiny_config(), 5).query.state_dict(), method.query.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours if key not in report.details["missing"])


def test_another_backbone_is_refused_unless_asked_for(tiny_config: Configs, tmp_path: Path) -> None:
    init = other_run(tmp_path / "other.pt", tiny_config())
    deeper = tiny_config(method__backbone="resnet34")
    method = seeded(deeper, 1)
    with pytest.raises(CheckpointError, match=r"keys of the backbone resnet34 are missing.*set strict to false"):
        start_from(init, method, deeper)
    _, report = start_from(dataclasses.replace(init, strict=False), method, deeper)
    assert report.details["matched"] > 0
    assert any(key.startswith("backbone.layer3.5") for key in report.details["missing"])
    assert torch.equal(
        method.query.state_dict()["backbone.conv1.weight"],
        seeded(tiny_config(), 5).query.state_dict()["backbone.conv1.weight"],
    )


def test_a_changed_file_is_refused(tiny_config: Configs, tmp_path: Path) -> None:
    init = dataclasses.replace(other_run(tmp_path / "other.pt", tiny_config()), sha256="sha256:0")
    with pytest.raises(CheckpointError, match="another file"):
        start_from(init, seeded(tiny_config(), 1), tiny_config())


@pytest.mark.parametrize("strict", [True, False])
def test_a_file_of_nothing_that_fits_is_always_refused(tiny_config: Configs, tmp_path: Path, strict: bool) -> None:
    init = other_run(tmp_path / "other.pt", tiny_config())
    content = torch.load(tmp_path / "other.pt", weights_only=True)
    content["state"]["method"] = {"something": torch.ones(1)}
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="cannot start from"):
        start_from(dataclasses.replace(init, sha256=None, strict=strict), seeded(tiny_config(), 1), tiny_config())


def test_a_weights_file_gives_the_backbone_and_nothing_else(tiny_config: Configs, tmp_path: Path) -> None:
    """torchvision's layout, classifier included; heads and queues stay random."""
    torch.manual_seed(5)
    theirs = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(theirs, tmp_path / "weights.pth")
    init = Init(kind="weights", path=str(tmp_path / "weights.pth"))
    method = seeded(tiny_config(), 1)
    before = {name: value.clone() for name, value in method.query.state_dict().items()}
    record, report = start_from(init, method, tiny_config())
    assert record["format"] == "torchvision"
    assert set(report.details["unexpected"]) == {"fc.bias", "fc.weight"}
    assert all("heads" in key for key in report.details["missing"])
    for encoder in (method.query, method.key):
        for name, value in encoder.state_dict().items():
            expected = theirs[name.removeprefix("backbone.")] if name.startswith("backbone.") else before[name]
            assert torch.equal(value, expected), name


def test_weights_of_another_network_are_refused(tiny_config: Configs, tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), tmp_path / "weights.pth")
    init = Init(kind="weights", path=str(tmp_path / "weights.pth"))
    with pytest.raises(WeightsError, match="resnet18"):
        start_from(init, seeded(tiny_config(), 1), tiny_config())


def test_a_warm_start_needs_something_to_start_from(tiny_job: Jobs) -> None:
    job = tiny_job(train__warm_start=True)
    with pytest.raises(InvalidDocument, match=r"train\.warm_start: .*init"):
        require_init(job)
    require_init(dataclasses.replace(job, init=Init(kind="weights", path="/w.pth")))
    require_init(dataclasses.replace(job, resume="/c.pt"))
    require_init(tiny_job())


@pytest.mark.slow
def test_a_run_says_what_it_started_from(
    tiny_job: Jobs, tmp_path: Path, reporter: Reporter, told: Callable[..., list[Body]]
) -> None:
    job: Any = tiny_job(train__steps=1, train__warm_start=True)
    init = dataclasses.replace(other_run(tmp_path / "other.pt", job.config), source="checkpoint ckpt_1 of run_1")
    run(dataclasses.replace(job, init=init), reporter, StopRequest())
    started, report = told()[:2]
    assert isinstance(started, Started)
    assert started.environment["init"]["source"] == init.source
    assert "init" in {deviation["key"] for deviation in started.environment["deviations"]}
    assert started.resumed_from is None
    assert isinstance(report, Warned)
    assert report.code == "init_keys"
