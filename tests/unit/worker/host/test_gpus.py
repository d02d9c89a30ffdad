"""A host offers its GPUs, or CPU places where there is none, and sets aside those that strangers use."""

import pytest

from control.gpus import Gpu
from control.records.scheduling.workers import NewSlot
from control.settings import Settings
from worker.host.gpus import offered

GIB = 2**30
A, B = (Gpu(f"GPU-{name}", name, 80 * GIB, 0, 0) for name in "ab")
SETTINGS = Settings(train_slots=2, light_slots=1, gpu_busy_bytes=2 * GIB)


def names(*gpus: Gpu) -> list[str]:
    return [slot.uuid for slot in offered(SETTINGS, gpus)]


def used(gpu: Gpu, count: int, processes: int = 0) -> NewSlot:
    return offered(SETTINGS, [gpu._replace(used=count, processes=processes)])[0]


def test_without_a_gpu_training_goes_on_the_cpu() -> None:
    assert names() == ["cpu:0", "cpu:1", "light:0"]


def test_gpus_are_for_training_and_there_is_always_light_work() -> None:
    assert names(A, B) == ["GPU-a", "GPU-b", "light:0"]
    slot = offered(SETTINGS, [A])[0]
    assert (slot.purpose, slot.is_gpu, slot.name, slot.memory) == ("train", True, "a", 80 * GIB)


def test_one_that_strangers_use_is_set_aside_with_the_reason() -> None:
    assert used(A, 2 * GIB - 1, processes=1).set_aside is None, "a desktop's"
    reason = used(A, 5 * GIB, processes=3).set_aside or ""
    assert reason == "5.0 GiB of it are used by 3 processes that no run of this service started"
    assert "processes not seen from here" in (used(A, 5 * GIB).set_aside or "")


@pytest.mark.parametrize("kept", ["GPU-b", "1"])
def test_gpus_kept_for_serving_are_named_as_such(kept: str) -> None:
    settings = SETTINGS.model_copy(update={"serve_gpus": (kept,)})
    assert [(slot.uuid, slot.purpose) for slot in offered(settings, [A, B])][:2] == [
        ("GPU-a", "train"),
        ("GPU-b", "serve"),
    ]
