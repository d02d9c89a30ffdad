"""Where and how a model runs, in onnxruntime's words: its session options and those of each provider."""

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import onnxruntime as ort

from detco_core.inference.sessions.sizes import Sides

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

Precision = Literal["fp32", "tf32", "fp16"]

RECORDED = "session.record_ep_graph_assignment_info"
"""Has onnxruntime tell where each node runs (`nodes`)."""

DEVICE = 0
"""Of the GPUs this process sees; which one that is, `CUDA_VISIBLE_DEVICES` says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """Where and how a model runs."""

    providers: tuple[str, ...] | None = None
    """onnxruntime's names, best first; None: CUDA where there is a GPU, else the CPU."""
    threads: int | None = None
    """Of one computation on the CPU; None: as many as the process may use."""
    gpu_memory: int | None = None
    """Bound of onnxruntime's arena in bytes, of which each session has one; it grows without a bound."""
    spin_us: int = 0
    """Microseconds for which threads of one computation look for the next piece of it before they sleep; 0: they sleep
    at once. Without an end (onnxruntime's own default) they take the cores of all else, 1.4-2 times slower."""
    arena: bool = False
    """Keep the CPU memory of the largest input ever seen for the next one: up to 10 % faster at 800x1333, nothing at
    224, for 400 MB that never come back (ResNet-50)."""
    strict: bool = False
    """Refuse another provider than the first."""
    precision: Precision = "fp32"
    """Of a GPU: `fp32` as exported; `tf32` rounds what is multiplied to 10 bits of mantissa; `fp16` computes a graph in
    half precision. A CPU has `fp32` only, as torch has there."""

    sizes: tuple[Sides, ...] = ()
    """To be ready for, beside 224x224 and those of the manifest's resize."""
    batch: int = 1
    """Images computed together at most, where that matters beforehand: to TensorRT."""

    @property
    def beside_tensorrt(self) -> "Execution":
        """The same without TensorRT."""
        return replace(self, providers=tuple(name for name in self.order if name != TENSORRT))

    @property
    def order(self) -> tuple[str, ...]:
        """The providers to ask for, best first."""
        return self.providers or available_providers()


def session_options(execution: Execution) -> Any:
    """`onnxruntime.SessionOptions`."""
    options = ort.SessionOptions()
    # An explicit number: with none onnxruntime also pins threads to cores, which fails noisily in containers.
    options.intra_op_num_threads = execution.threads or len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = execution.arena
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(execution.spin_us > 0)))
    if execution.spin_us > 0:
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(execution.spin_us))
    if execution.order[0] != CPU:
        # A block planned for each size that comes would fill a bounded arena with blocks that fit no other size.
        options.enable_mem_pattern = False
        options.add_session_config_entry(RECORDED, "1")
    return options


def provider_options(
    execution: Execution, tensorrt: Mapping[str, str] | None = None
) -> list[tuple[str, dict[str, str]]]:
    """Every provider with its options, as `InferenceSession(providers=...)` takes them."""
    given = {CUDA: _cuda(execution), TENSORRT: dict(tensorrt or {})}
    return [(name, given.get(name, {})) for name in execution.order]


def _cuda(execution: Execution) -> dict[str, str]:
    options = {
        "device_id": str(DEVICE),
        "arena_extend_strategy": "kSameAsRequested",
        # The default tries every algorithm at every size it has not seen, for seconds; images come in any size.
        "cudnn_conv_algo_search": "HEURISTIC",
        # On by default, and then a network exported in fp32 is not what its export was proved to be.
        "use_tf32": str(int(execution.precision == "tf32")),
    }
    if execution.gpu_memory is not None:
        options["gpu_mem_limit"] = str(execution.gpu_memory)
    return options


def available_providers() -> tuple[str, ...]:
    """CUDA and CPU where onnxruntime was built for CUDA and the driver has a device; else the CPU alone.

    onnxruntime's own answer names CUDA on every machine its GPU wheel is installed on.
    """
    built = CUDA in ort.get_available_providers()
    return (CUDA, CPU) if built and cuda_devices() > 0 else (CPU,)


def gpu_name() -> str:
    """What the driver calls the GPU this process sees first; `unknown` where there is none."""
    driver, name = _driver(), ctypes.create_string_buffer(256)
    device = ctypes.c_int()
    if driver is None or driver.cuDeviceGet(ctypes.byref(device), DEVICE) != 0:
        return "unknown"
    return name.value.decode("utf-8", "replace") if driver.cuDeviceGetName(name, 256, device) == 0 else "unknown"


def cuda_devices() -> int:
    """Devices the CUDA driver shows to this process; `CUDA_VISIBLE_DEVICES` counts. Opens no context."""
    driver, count = _driver(), ctypes.c_int()
    return count.value if driver is not None and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0


def _driver() -> Any:
    """The CUDA driver, ready to be asked; None where there is none."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None
