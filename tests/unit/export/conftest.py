"""An untrained checkpoint as a pretraining run writes it, its backbone, and one exported bundle for all tests.

Tracing a network for ONNX takes seconds: it is done once, and tests that need to damage a bundle copy it.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from detco_core.contract.config import override
from detco_core.contract.events import Body, decode
from detco_core.contract.jobs import EVENTS_FILE, ExportJob
from detco_core.contract.manifest import Lineage
from detco_core.contract.presets import preset
from detco_core.export.job import run
from detco_core.method.catalog import make_method
from detco_core.nets.backbone import StageBackbone
from detco_core.nets.weights import backbone_from_checkpoint
from detco_core.runtime.checkpoint import CheckpointInfo, SavedFile, save
from detco_core.runtime.reporter import Reporter
from detco_core.runtime.seeding import seed_all


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> SavedFile:
    """Of a ResNet-18 whose batch norm has seen something, so that folding it is put to the test."""
    config = override(
        preset("smoke"), {"views.mean": (0.4, 0.5, 0.6), "views.std": (0.229, 0.224, 0.225), "method.queue_size": 16}
    )
    seed_all(1)
    method = make_method(config)
    _stir(method.query.backbone)
    info = CheckpointInfo(
        step=7,
        epoch=0.5,
        steps=20,
        steps_per_epoch=14,
        config=config,
        dataset="photos@3",
        dataset_digest="sha256:aa",
        world_size=1,
        software={},
    )
    return save(tmp_path_factory.mktemp("run") / "step.pt", info, {"method": method.state_dict()})


@pytest.fixture(scope="session")
def backbone(checkpoint: SavedFile) -> StageBackbone:
    return backbone_from_checkpoint(checkpoint.path)[0]


@pytest.fixture(scope="session")
def job(checkpoint: SavedFile, tmp_path_factory: pytest.TempPathFactory) -> ExportJob:
    return ExportJob(
        folder=str(tmp_path_factory.mktemp("job")),
        checkpoint=str(checkpoint.path),
        checkpoint_sha256=checkpoint.sha256,
        lineage=Lineage(run="run_1", checkpoint="ckpt_1", dataset="mine@1"),
        license="CC0-1.0",
        created_by="ada",
    )


@pytest.fixture(scope="session")
def said(job: ExportJob) -> list[Body]:
    """The events of `job`, which ran."""
    return _run(job)


@pytest.fixture(scope="session")
def bundle(job: ExportJob, said: list[Body]) -> Path:
    """What `job` wrote; to be read only."""
    return Path(job.folder) / "bundle"


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    """A bundle that may be damaged."""
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


@pytest.fixture(scope="session")
def run_job() -> Callable[[ExportJob], list[Body]]:
    return _run


def _run(job: ExportJob) -> list[Body]:
    reporter = Reporter(Path(job.folder))
    try:
        run(job, reporter)
    finally:
        reporter.close()
    return [decode(line).body for line in (Path(job.folder) / EVENTS_FILE).read_text().splitlines()]


def _stir(backbone: StageBackbone) -> None:
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            state = module.state_dict()
            for name in ("weight", "bias", "running_mean"):
                state[name].add_(0.1 * torch.randn_like(state[name]))
            state["running_var"].uniform_(0.5, 1.5)
