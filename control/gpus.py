"""Which GPUs this machine has, asked of NVML without ever opening CUDA; MIG instances count as GPUs of their own."""

import importlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

_log = logging.getLogger(__name__)


class Gpu(NamedTuple):
    """One GPU, or one MIG instance of one, as NVML sees it."""

    uuid: str
    """`GPU-...` or `MIG-...`"""
    name: str
    memory: int
    """Bytes."""
    used: int
    """Bytes, by whomever."""
    processes: int
    """Processes that hold a CUDA context on it; 0 in a container that cannot see them."""


def discover(nvml: Any = None) -> list[Gpu]:
    """All GPUs in PCI order; none where there is no driver. `nvml` stands in for the `pynvml` module."""
    try:
        api = nvml or importlib.import_module("pynvml")
    except ImportError:
        _log.debug("nvidia-ml-py is not installed")
        return []
    try:
        api.nvmlInit()
    except api.NVMLError as error:
        _log.debug("no NVIDIA driver: %s", error)
        return []
    try:
        handles = [api.nvmlDeviceGetHandleByIndex(n) for n in range(api.nvmlDeviceGetCount())]
        return [_gpu(api, part) for handle in handles for part in _parts(api, handle)]
    finally:
        api.nvmlShutdown()


def visible(gpus: Sequence[Gpu], setting: str | None) -> list[Gpu]:
    """Those `CUDA_VISIBLE_DEVICES` leaves, as CUDA reads it: up to the first name that means none. None: all."""
    if setting is None:
        return list(gpus)
    left: list[Gpu] = []
    for name in setting.split(","):
        gpu = find(gpus, name.strip())
        if gpu is None or gpu in left:
            break
        left.append(gpu)
    return left


def find(gpus: Sequence[Gpu], name: str) -> Gpu | None:
    """The GPU of that index in PCI order, or whose UUID begins with `name`."""
    if name.isdecimal():
        return gpus[int(name)] if int(name) < len(gpus) else None
    return next((gpu for gpu in gpus if name and gpu.uuid.startswith(name)), None)


def _parts(api: Any, handle: Any) -> Iterator[Any]:
    """The GPU itself, or its MIG instances when it is partitioned: then nothing can be run on the whole."""
    try:
        is_partitioned = api.nvmlDeviceGetMigMode(handle)[0] == 1
    except api.NVMLError:  # a GPU that cannot be partitioned
        is_partitioned = False
    if not is_partitioned:
        yield handle
        return
    for number in range(api.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            yield api.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        except api.NVMLError:  # instances have gaps in their numbers
            continue


def _gpu(api: Any, handle: Any) -> Gpu:
    memory = api.nvmlDeviceGetMemoryInfo(handle)
    try:
        processes = len(api.nvmlDeviceGetComputeRunningProcesses(handle))
    except api.NVMLError:  # not told of MIG instances by every driver
        processes = 0
    return Gpu(
        uuid=_text(api.nvmlDeviceGetUUID(handle)),
        name=_text(api.nvmlDeviceGetName(handle)),
        memory=int(memory.total),
        used=int(memory.used),
        processes=processes,
    )


def _text(value: str | bytes) -> str:
    """Older bindings answer in bytes."""
    return value.decode() if isinstance(value, bytes) else value
