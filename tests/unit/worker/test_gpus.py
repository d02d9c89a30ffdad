"""GPUs are discovered through NVML, and a machine without a driver simply has none."""

from types import SimpleNamespace
from typing import Any

import pytest

from control.settings import Settings
from worker.gpus import BUSY_BYTES, Gpu, discover, offered, visible


class NVMLError(Exception):
    """As `pynvml.NVMLError`."""


class FakeNvml:
    """The part of `pynvml` that is used, with `gpus` = (uuid, used bytes, compute processes)."""

    NVMLError = NVMLError

    def __init__(self, *gpus: tuple[str | bytes, int, int], driver: bool = True) -> None:
        self.gpus = gpus
        self.driver = driver
        self.open = 0

    def nvmlInit(self) -> None:
        if not self.driver:
            raise NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str | bytes:
        return self.gpus[handle][0]

    def nvmlDeviceGetName(self, handle: int) -> str:
        return f"Fake {handle}"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(total=80 * 2**30, used=self.gpus[handle][1])

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[object]:
        return [object()] * self.gpus[handle][2]


def test_no_driver_means_no_gpus() -> None:
    nvml = FakeNvml(driver=False)
    assert discover(nvml) == []
    assert nvml.open == 0


def test_lists_every_gpu_and_closes_nvml() -> None:
    nvml = FakeNvml(("GPU-a", 5, 0), (b"GPU-b", 7, 2))
    assert discover(nvml) == [
        Gpu("GPU-a", "Fake 0", 80 * 2**30, 5, 0),
        Gpu("GPU-b", "Fake 1", 80 * 2**30, 7, 2),
    ]
    assert nvml.open == 0


@pytest.mark.parametrize(
    ("used", "processes", "free"), [(0, 0, True), (BUSY_BYTES - 1, 0, True), (BUSY_BYTES, 0, False), (0, 1, False)]
)
def test_a_gpu_is_free_when_nobody_computes_on_it(used: int, processes: int, free: bool) -> None:
    assert Gpu("GPU-a", "", 80 * 2**30, used, processes).is_free is free


A, B, C = (Gpu(f"GPU-{name}", name, 80, 0, 0) for name in "abc")
BUSY = Gpu("GPU-busy", "busy", 80, 0, 1)


@pytest.mark.parametrize(
    ("setting", "left"),
    [(None, [A, B, C]), ("", []), ("-1", []), ("1", [B]), ("2,GPU-a", [A, C]), ("GPU-b,", [B]), ("7", [])],
)
def test_the_operator_may_leave_only_some(setting: str | None, left: list[Gpu]) -> None:
    assert visible([A, B, C], setting) == left


class TestOffered:
    settings = Settings(train_slots=2, light_slots=1)

    def names(self, settings: Settings, *gpus: Gpu) -> list[str]:
        return [slot.uuid for slot in offered(settings, gpus)]

    def test_without_a_gpu_training_goes_on_the_cpu(self) -> None:
        assert self.names(self.settings) == ["cpu:0", "cpu:1", "light:0"]

    def test_free_gpus_are_for_training_and_there_is_always_light_work(self) -> None:
        assert self.names(self.settings, A, BUSY) == ["GPU-a", "light:0"]
        slot = offered(self.settings, [A])[0]
        assert (slot.purpose, slot.is_gpu, slot.name, slot.memory) == ("train", True, "a", 80)

    def test_a_host_whose_gpus_are_all_taken_does_not_train_on_the_cpu(self) -> None:
        assert self.names(self.settings, BUSY) == ["light:0"]

    @pytest.mark.parametrize("kept", ["GPU-b", "1"])
    def test_gpus_kept_for_serving_are_not_offered(self, kept: str) -> None:
        settings = self.settings.model_copy(update={"serve_gpus": (kept,)})
        assert self.names(settings, A, B, C) == ["GPU-a", "GPU-c", "light:0"]


def test_the_real_binding_is_asked_by_default() -> None:
    assert all(gpu.uuid for gpu in discover())
