"""Which GPUs this machine has and whether they are really free, asked of NVML without ever opening CUDA."""

import importlib
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from control.records.workers import NewSlot
from control.settings import Settings

BUSY_BYTES = 2 * 2**30
"""A GPU nobody leased counts as taken by a stranger from this much used memory on; driver and desktop use less."""

_log = logging.getLogger(__name__)


class Gpu(NamedTuple):
    """One GPU, as NVML sees it."""

    uuid: str
    name: str
    memory: int
    """Bytes."""
    used: int
    """Bytes, by whomever."""
    processes: int
    """Processes that hold a CUDA context on it; 0 in a container that cannot see them."""

    @property
    def is_free(self) -> bool:
        """Whether nobody computes on it."""
        return self.processes == 0 and self.used < BUSY_BYTES


def discover(nvml: Any = None) -> list[Gpu]:
    """All GPUs in PCI order; none where there is no driver. `nvml` stands in for the `pynvml` module."""
    api = nvml or importlib.import_module("pynvml")
    try:
        api.nvmlInit()
    except api.NVMLError as error:
        _log.debug("no NVIDIA driver: %s", error)
        return []
    try:
        return [_gpu(api, api.nvmlDeviceGetHandleByIndex(n)) for n in range(api.nvmlDeviceGetCount())]
    finally:
        api.nvmlShutdown()


def visible(gpus: Sequence[Gpu], setting: str | None) -> list[Gpu]:
    """Those `CUDA_VISIBLE_DEVICES` leaves to this worker: indices in PCI order or beginnings of UUIDs; None: all."""
    if setting is None:
        return list(gpus)
    named = [name for name in setting.split(",") if name]
    return [gpu for n, gpu in enumerate(gpus) if any(name == str(n) or gpu.uuid.startswith(name) for name in named)]


def offered(settings: Settings, gpus: Sequence[Gpu]) -> tuple[NewSlot, ...]:
    """The slots a worker announces: each GPU nobody else computes on, or CPU places where there is none; light ones.

    A GPU that one of our own runs holds keeps its slot although it is not named here.
    """
    light = [NewSlot(uuid=f"light:{n}", purpose="light", name="CPU") for n in range(settings.light_slots)]
    if not gpus:
        train = [NewSlot(uuid=f"cpu:{n}", purpose="train", name="CPU") for n in range(settings.train_slots)]
        return (*train, *light)
    serving = {*settings.serve_gpus}
    free = [gpu for n, gpu in enumerate(gpus) if gpu.is_free and not {gpu.uuid, str(n)} & serving]
    slots = [NewSlot(uuid=gpu.uuid, purpose="train", is_gpu=True, name=gpu.name, memory=gpu.memory) for gpu in free]
    return (*slots, *light)


def _gpu(api: Any, handle: Any) -> Gpu:
    memory = api.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(
        uuid=_text(api.nvmlDeviceGetUUID(handle)),
        name=_text(api.nvmlDeviceGetName(handle)),
        memory=int(memory.total),
        used=int(memory.used),
        processes=len(api.nvmlDeviceGetComputeRunningProcesses(handle)),
    )


def _text(value: str | bytes) -> str:
    """Older bindings answer in bytes."""
    return value.decode() if isinstance(value, bytes) else value
