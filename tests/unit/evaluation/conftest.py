"""A small labelled data set, sources of every kind, and a list that collects progress."""

from pathlib import Path

import pytest
import torch

from detco_core.contract.config import RunConfig, override
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.evaluations import Source
from detco_core.contract.presets import preset
from detco_core.data.synthetic import write_labelled
from detco_core.inference.tiny import write_tiny_bundle
from detco_core.method.catalog import make_method
from detco_core.runtime.checkpoint import CheckpointInfo, SavedFile, save
from detco_core.runtime.seeding import seed_all

SEED = 5


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    root = tmp_path_factory.mktemp("labelled")
    write_labelled(root, classes=3, per_class=4, size=(80, 64))
    return DatasetRef(name="shapes@1", kind="labelled", root=str(root))


@pytest.fixture(scope="session")
def config() -> RunConfig:
    return override(preset("smoke"), {"seed": SEED, "views.mean": (0.4, 0.5, 0.6), "views.std": (0.3, 0.2, 0.25)})


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory, config: RunConfig) -> SavedFile:
    """A checkpoint as a pretraining run of `config` would write before its first step."""
    seed_all(config.seed)
    info = CheckpointInfo(
        step=0,
        epoch=0.0,
        steps=20,
        steps_per_epoch=4,
        config=config,
        dataset="photos@1",
        dataset_digest=None,
        world_size=1,
        software={},
    )
    return save(tmp_path_factory.mktemp("run") / "step.pt", info, {"method": make_method(config).state_dict()})


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "bundle"
    write_tiny_bundle(folder)
    return folder


@pytest.fixture
def random_r18() -> Source:
    return Source(kind="random", backbone="resnet18", seed=SEED)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
