"""GPUs are discovered through NVML, and a machine without a driver simply has none."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from control.gpus import Gpu, discover, find, visible


class NVMLError(Exception):
    """As `pynvml.NVMLError`."""


class FakeNvml:
    """The part of `pynvml` that is used, with `gpus` = (uuid, used bytes, compute processes).

    `mig` gives the instances of the GPUs that are partitioned; None in it: a gap in their numbers.
    """

    NVMLError = NVMLError

    def __init__(
        self, *gpus: tuple[str | bytes, int, int], driver: bool = True, mig: dict[int, list[str | None]] | None = None
    ) -> None:
        self.gpus = gpus
        self.driver = driver
        self.mig = mig
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

    def nvmlDeviceGetMigMode(self, handle: int) -> list[int]:
        if self.mig is None:
            raise NVMLError("Not Supported")
        return [int(handle in self.mig)] * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: int) -> int:
        return len((self.mig or {})[handle])

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: int, number: int) -> str:
        found = (self.mig or {})[handle][number]
        if found is None:
            raise NVMLError("Not Found")
        return found

    def nvmlDeviceGetUUID(self, handle: int | str) -> str | bytes:
        return handle if isinstance(handle, str) else self.gpus[handle][0]

    def nvmlDeviceGetName(self, handle: int | str) -> str:
        return f"Fake {handle}"

    def nvmlDeviceGetMemoryInfo(self, handle: int | str) -> Any:
        return SimpleNamespace(total=80 * 2**30, used=7 if isinstance(handle, str) else self.gpus[handle][1])

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int | str) -> list[object]:
        if isinstance(handle, str):
            raise NVMLError("Not Supported")
        return [object()] * self.gpus[handle][2]


def test_no_driver_means_no_gpus() -> None:
    nvml = FakeNvml(driver=False)
    assert discover(nvml) == []
    assert nvml.open == 0


def test_neither_does_no_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert discover() == []


def test_lists_every_gpu_and_closes_nvml() -> None:
    nvml = FakeNvml(("GPU-a", 5, 0), (b"GPU-b", 7, 2))
    assert discover(nvml) == [
        Gpu("GPU-a", "Fake 0", 80 * 2**30, 5, 0),
        Gpu("GPU-b", "Fake 1", 80 * 2**30, 7, 2),
    ]
    assert nvml.open == 0


def test_a_partitioned_gpu_is_its_instances() -> None:
    nvml = FakeNvml(("GPU-a", 5, 0), ("GPU-b", 5, 0), mig={1: ["MIG-1", None, "MIG-2"]})
    assert [gpu.uuid for gpu in discover(nvml)] == ["GPU-a", "MIG-1", "MIG-2"]
    assert discover(nvml)[1] == Gpu("MIG-1", "Fake MIG-1", 80 * 2**30, 7, 0)


A, B, C = (Gpu(f"GPU-{name}", name, 80, 0, 0) for name in "abc")


@pytest.mark.parametrize(
    ("setting", "left"),
    [
        (None, [A, B, C]),
        ("", []),
        ("-1", []),
        ("1", [B]),
        ("2,GPU-a", [C, A]),
        ("GPU-b,", [B]),
        ("0, 1", [A, B]),
        ("7", []),
        ("0,7,1", [A]),
        ("0,GPU-a,1", [A]),
    ],
)
def test_the_operator_may_leave_only_some(setting: str | None, left: list[Gpu]) -> None:
    assert visible([A, B, C], setting) == left


@pytest.mark.parametrize(("name", "found"), [("1", B), ("3", None), ("GPU-c", C), ("GPU-x", None), ("", None)])
def test_one_is_found_by_index_or_uuid(name: str, found: Gpu | None) -> None:
    assert find([A, B, C], name) == found


def test_the_real_binding_is_asked_by_default() -> None:
    assert all(gpu.uuid for gpu in discover())
