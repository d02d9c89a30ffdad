"""Real training jobs on made-up photos, small enough for a fraction of a second a step."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from detco_core.contract.config import RunConfig, override
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.events import Body, decode
from detco_core.contract.jobs import PretrainJob
from detco_core.contract.presets import preset
from detco_core.data.synthetic import write_photos
from detco_core.runtime.reporter import Reporter
from detco_core.runtime.stop import StopRequest
from detco_core.train.job import make_trainer
from detco_core.train.trainer import Trainer

TINY = {
    "train.steps": 3,
    "train.batch_size": 4,
    "train.checkpoint_every": 2,
    "data.workers": 0,
    "data.decode_short_side": 64,
    "views.global_size": 32,
    "views.local_size": 48,
    "views.patch_size": 16,
    "method.queue_size": 8,
    "method.dim": 8,
    "method.local_head": "pirl",
    "device.kind": "cpu",
}


@pytest.fixture(autouse=True)
def _deterministic_switch_as_found() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 12, size=(64, 48))
    return folder


@pytest.fixture
def tiny_config() -> Callable[..., RunConfig]:
    """The smoke preset as small as it goes; overrides as keyword `a__b`."""

    def build(**overrides: Any) -> RunConfig:
        return override(override(preset("smoke"), TINY), {k.replace("__", "."): v for k, v in overrides.items()})

    return build


@pytest.fixture
def tiny_job(photos: Path, tmp_path: Path, tiny_config: Callable[..., RunConfig]) -> Callable[..., PretrainJob]:
    """A job in `tmp_path`/NAME; overrides as keyword `a__b`."""

    def build(name: str = "job", resume: Path | None = None, **overrides: Any) -> PretrainJob:
        return PretrainJob(
            folder=str(tmp_path / name),
            config=tiny_config(**overrides),
            dataset=DatasetRef(name="photos@1", kind="images", root=str(photos)),
            resume=None if resume is None else str(resume),
        )

    return build


@pytest.fixture
def reporter(tmp_path: Path) -> Iterator[Reporter]:
    """Of the job that `tiny_job` builds without a name."""
    with Reporter(tmp_path / "job") as reporter:
        yield reporter


@pytest.fixture
def trainer_of() -> Callable[..., AbstractContextManager[Trainer]]:
    """A context: the trainer of a job on the CPU, ready to train, its loaders and files closed afterwards."""

    @contextmanager
    def build(job: PretrainJob, stop: StopRequest | None = None) -> Iterator[Trainer]:
        with Reporter(Path(job.folder)) as reporter:
            trainer = make_trainer(job, reporter, stop or StopRequest(), torch.device("cpu"))
            with closing(trainer.batches), trainer.narrator:
                yield trainer

    return build


@pytest.fixture
def stop() -> StopRequest:
    """A request that was made already."""
    request = StopRequest()
    request.requested = True
    return request


@pytest.fixture
def told(tmp_path: Path) -> Callable[..., list[Body]]:
    """What the events file of a job holds."""

    def read(name: str = "job") -> list[Body]:
        return [decode(line).body for line in (tmp_path / name / "events.jsonl").read_text().splitlines()]

    return read
