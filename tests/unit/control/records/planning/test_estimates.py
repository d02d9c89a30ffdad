from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Engine, update

from control.db.models import Run, Slot
from control.db.session import unit_of_work
from control.records.planning.estimates import Estimate, estimate
from control.records.scheduling.workers import WorkerIdentity
from detco_core.contract.config import RunConfig, override
from detco_core.contract.cost import cost
from detco_core.contract.presets import preset
from detco_core.contract.reader import plain

SMOKE = preset("smoke")


@pytest.fixture
def asked(engine: Engine) -> Callable[..., Estimate]:
    def ask(config: RunConfig = SMOKE, gpus: int = 1, images: int | None = 320) -> Estimate:
        with unit_of_work(engine) as session:
            return estimate(session, config, gpus, images)

    return ask


def test_without_a_like_run_it_is_arithmetic_and_says_so(asked: Callable[..., Estimate]) -> None:
    figures = cost(SMOKE)
    assert figures is not None
    found = asked()
    speed = 0.1e12 / figures.flops_per_image
    assert found.basis.startswith("arithmetic: ")
    assert "1 x CPU" in found.basis
    assert found.steps == 20
    assert found.images_per_second == pytest.approx(speed)
    assert found.seconds == pytest.approx(15 + 20 * 16 / speed)
    assert found.disk_bytes == 4 * figures.checkpoint_bytes
    assert found.memory_bytes == figures.memory_bytes


def test_epochs_are_steps_once_the_images_are_counted(asked: Callable[..., Estimate]) -> None:
    config = override(SMOKE, {"train.epochs": 3})
    assert asked(config, images=330).steps == 20 * 3
    unknown = asked(config, images=None)
    assert (unknown.steps, unknown.seconds, unknown.disk_bytes) == (None, None, None)


def test_the_gpu_of_the_service_is_assumed(
    engine: Engine, asked: Callable[..., Estimate], make_worker: Callable[..., WorkerIdentity]
) -> None:
    make_worker(train=0, gpus=("GPU-1", "GPU-2"))
    with unit_of_work(engine) as session:
        session.execute(update(Slot).where(Slot.is_gpu).values(name="NVIDIA H200"))
    found = asked(gpus=2)
    assert "140 TFLOP/s for each of 2 x NVIDIA H200" in found.basis


def test_like_runs_are_the_better_basis(
    engine: Engine, asked: Callable[..., Estimate], make_run: Callable[..., str]
) -> None:
    longer = override(SMOKE, {"train.steps": 50, "seed": 7})
    unlike = replace(SMOKE, views=replace(SMOKE.views, global_size=224))
    speeds = [(longer, 10.0), (SMOKE, 20.0), (SMOKE, 90.0), (unlike, 1.0), (SMOKE, 0.0)]
    for config, speed in speeds:
        run_id = make_run(spec={"config": plain(config), "gpus": 1})
        with unit_of_work(engine) as session:
            session.execute(update(Run).where(Run.id == run_id).values(progress={"images_per_second": speed}))
    found = asked()
    assert found.basis == "measured: the median of 3 like run(s) of this service"
    assert found.images_per_second == 20.0
    assert asked(gpus=2).basis.startswith("arithmetic")


def test_of_an_unknown_network_nothing_is_made_up(asked: Callable[..., Estimate]) -> None:
    found = asked(override(SMOKE, {"method.backbone": "resnet9"}))
    assert found.basis.startswith("unknown: no figures for resnet9")
    assert (found.seconds, found.images_per_second, found.memory_bytes, found.disk_bytes) == (None, None, None, None)
