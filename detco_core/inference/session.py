"""Opens a bundle's ONNX file in onnxruntime and says on what it really runs.

onnxruntime-gpu falls back to the CPU with no more than a line on stderr; here the provider obtained is compared with
the one asked for, reported, and refused when `strict`.
"""

import contextlib
import ctypes
import hashlib
import logging
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from detco_core.contract.errors import BundleError
from detco_core.contract.manifest import BundleFile, Manifest, read_manifest
from detco_core.inference.graph import Needs, cut, needs

log = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
INPUT = "image"
POOLED = "pooled"

_WORTH_CUTTING = 0.9
"""A second session holds its weights twice: only when it leaves out more than a tenth of the graph."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """Where and how a model runs."""

    providers: tuple[str, ...] | None = None
    """onnxruntime's names, best first; None: CUDA where there is a GPU, else the CPU."""
    threads: int | None = None
    """Of one computation on the CPU; None: as many as the process may use."""
    gpu_memory: int | None = None
    """Bound of onnxruntime's arena in bytes; it grows without one."""
    spinning: bool = False
    """Threads that wait burn their core: worth it only on a machine that does nothing else (1.4-2 times slower where
    cores are shared)."""
    arena: bool = False
    """Keep the CPU memory of the largest input ever seen for the next one: up to 10 % faster at 800x1333, nothing at
    224, for 400 MB that never come back (ResNet-50)."""
    strict: bool = False
    """Refuse another provider than the first."""


class Session:
    """One opened model. `run` may be called from several threads."""

    def __init__(self, bundle: Path, manifest: Manifest, execution: Execution, needs: Needs, whole: Any) -> None:
        self.bundle = bundle
        self.manifest = manifest
        self.execution = execution
        self._needs = needs
        self._whole = whole
        self._parts: dict[frozenset[str], Any] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, bundle: Path, execution: Execution | None = None) -> "Session":
        """Open a bundle folder.

        Raises:
            BundleError: a file is missing or not the one the manifest names, the graph lacks an output of the manifest,
                or (strict) the provider asked for is not to be had.
        """
        execution = execution or Execution()
        manifest = read_manifest(bundle)
        model = _verified(bundle, manifest.files["onnx"])
        found = needs(model)
        missing = [name for name in outputs_of(manifest) if name not in found.by_output]
        if missing:
            raise BundleError(f"{bundle}: the ONNX file has no output {', '.join(missing)}, which the manifest names")
        whole = start(model, execution)
        del model
        _give_back()
        return cls(bundle, manifest, execution, found, whole)

    @property
    def provider(self) -> str:
        """The provider really obtained."""
        return str(self._whole.get_providers()[0])

    def run(self, array: NDArray[np.float32], outputs: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Compute the named outputs, and as little else as can be, of `array` `[N, C, H, W]`."""
        values = self._session_for(outputs).run(list(outputs), {INPUT: array})
        return dict(zip(outputs, values, strict=True))

    def _session_for(self, outputs: Iterable[str]) -> Any:
        free = self._needs.computed_with(outputs)
        if self._needs.share(free) > _WORTH_CUTTING:
            return self._whole
        with self._lock:
            if free not in self._parts:
                # Read again: keeping the model's bytes for this would double what an idle server holds.
                model = _verified(self.bundle, self.manifest.files["onnx"])
                self._parts[free] = start(cut(model, free), self.execution)
                del model
                _give_back()
            return self._parts[free]


def outputs_of(manifest: Manifest) -> tuple[str, ...]:
    """Names of the ONNX outputs: the levels, then `pooled`."""
    return (*(level.name for level in manifest.levels), POOLED)


def start(model: bytes, execution: Execution) -> Any:
    """An onnxruntime session; raises `BundleError` when there is none, or (strict) none on the provider asked for."""
    providers = execution.providers or available_providers()
    if CUDA in providers:
        # Finds CUDA and cuDNN in the wheels they came in.
        ort.preload_dlls()
    try:
        session = ort.InferenceSession(model, _options(execution), providers=_with_options(providers, execution))
    # onnxruntime's exceptions share no base class but Exception.
    except Exception as error:
        raise BundleError(f"onnxruntime {ort.__version__} cannot open the model: {error}") from error
    got = session.get_providers()[0]
    if got != providers[0]:
        message = f"asked onnxruntime for {providers[0]}, got {got}: see its message above for the library it misses"
        if execution.strict:
            raise BundleError(message)
        log.warning(message)
    return session


def available_providers() -> tuple[str, ...]:
    """CUDA and CPU where onnxruntime was built for CUDA and the driver has a device; else the CPU alone.

    onnxruntime's own answer names CUDA on every machine its GPU wheel is installed on.
    """
    built = CUDA in ort.get_available_providers()
    return (CUDA, CPU) if built and _cuda_devices() > 0 else (CPU,)


def _cuda_devices() -> int:
    """Devices the CUDA driver shows to this process; `CUDA_VISIBLE_DEVICES` counts. Opens no context."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _options(execution: Execution) -> Any:
    options = ort.SessionOptions()
    # An explicit number: with none onnxruntime also pins threads to cores, which fails noisily in containers.
    options.intra_op_num_threads = execution.threads or len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = execution.arena
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(execution.spinning)))
    return options


def _with_options(providers: Sequence[str], execution: Execution) -> list[Any]:
    cuda: dict[str, str] = {"arena_extend_strategy": "kSameAsRequested"}
    if execution.gpu_memory is not None:
        cuda["gpu_mem_limit"] = str(execution.gpu_memory)
    return [(name, cuda) if name == CUDA else name for name in providers]


def _give_back() -> None:
    """Return what opening a model needed and freed; glibc would keep it (150 MB for a ResNet-50)."""
    # Not every libc has it.
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _verified(bundle: Path, file: BundleFile) -> bytes:
    """The file's bytes, read once, so that what was checked is what is loaded."""
    path = bundle / file.path
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    found = "sha256:" + hashlib.sha256(data).hexdigest()
    if found != file.sha256:
        raise BundleError(f"{path} is damaged or another file: the manifest says {file.sha256}, it is {found}")
    return data
