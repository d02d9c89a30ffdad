"""Opens a bundle's ONNX file in onnxruntime and says on what it really runs.

onnxruntime-gpu falls back to the CPU with no more than a line on stderr; here the provider obtained is compared with
the one asked for, reported, and refused when `strict`.
"""

import hashlib
import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from detco_core.contract.errors import BundleError
from detco_core.contract.manifest import BundleFile, Manifest, read_manifest
from detco_core.inference.allocator import give_back
from detco_core.inference.binding import Bound, Maps, Placement, Staged
from detco_core.inference.execution import CPU, DEVICE, Execution, Precision, provider_options, session_options
from detco_core.inference.graph import Needs, cut, needs
from detco_core.inference.half import halved
from detco_core.inference.host_memory import gpu_buffers

log = logging.getLogger(__name__)

POOLED = "pooled"

_WORTH_CUTTING = 0.9
"""A second session holds its weights twice: only when it leaves out more than a tenth of the graph."""


class Session:
    """One opened model. `run` may be called from several threads."""

    def __init__(self, bundle: Path, manifest: Manifest, execution: Execution, needs: Needs, whole: Bound) -> None:
        self.bundle = bundle
        self.manifest = manifest
        self.execution = execution
        self._needs = needs
        self._whole = whole
        self._parts: dict[frozenset[str], Bound] = {}
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
        whole = _bound(model, execution)
        del model
        give_back()
        return cls(bundle, manifest, execution, found, whole)

    @property
    def precision(self) -> Precision:
        """What it really computes in."""
        return "fp32" if self.provider == CPU else self.execution.precision

    @property
    def provider(self) -> str:
        """The provider really obtained."""
        return str(self._whole.session.get_providers()[0])

    @property
    def opened(self) -> int:
        """Times that the weights are held: for the whole graph, and for each part of it that runs by itself."""
        return 1 + len(self._parts)

    def run(self, array: NDArray[np.float32], outputs: Sequence[str]) -> Maps:
        """Compute the named outputs, and as little else as can be, of `array` `[N, C, H, W]`; float16 in `fp16`."""
        return self.stage([array], outputs).compute()

    def stage(self, arrays: Sequence[NDArray[np.float32]], outputs: Sequence[str]) -> Staged:
        """Bring images `[n, C, H, W]` of one size to where they are computed, as one batch; `compute` does the rest."""
        return self._bound_for(outputs).stage(arrays, outputs)

    def _bound_for(self, outputs: Iterable[str]) -> Bound:
        free = self._needs.computed_with(outputs)
        if self._needs.share(free) > _WORTH_CUTTING:
            return self._whole
        with self._lock:
            if free not in self._parts:
                # Read again: keeping the model's bytes for this would double what an idle server holds.
                model = _verified(self.bundle, self.manifest.files["onnx"])
                self._parts[free] = _bound(cut(model, free), self.execution)
                del model
                give_back()
            return self._parts[free]


def outputs_of(manifest: Manifest) -> tuple[str, ...]:
    """Names of the ONNX outputs: the levels, then `pooled`."""
    return (*(level.name for level in manifest.levels), POOLED)


def start(model: bytes, execution: Execution) -> Any:
    """An onnxruntime session; raises `BundleError` when there is none, or (strict) none on the provider asked for."""
    providers = provider_options(execution)
    if execution.order[0] != CPU:
        # Finds CUDA and cuDNN in the wheels they came in.
        ort.preload_dlls()
    try:
        session = ort.InferenceSession(model, session_options(execution), providers=providers)
    # onnxruntime's exceptions share no base class but Exception.
    except Exception as error:
        raise BundleError(f"onnxruntime {ort.__version__} cannot open the model: {error}") from error
    # It would move to the CPU for good when one image fails on the GPU, and only print so.
    session.disable_fallback()
    _check(session.get_providers()[0], execution)
    return session


def _check(got: str, execution: Execution) -> None:
    """Complain of another provider than the one asked for; raises `BundleError` where that is refused."""
    if got == execution.order[0]:
        return
    message = f"asked onnxruntime for {execution.order[0]}, got {got}: see its message above for the library it misses"
    if execution.strict:
        raise BundleError(message)
    log.warning(message)


def _bound(model: bytes, execution: Execution) -> Bound:
    if execution.precision == "fp16" and execution.order[0] == CPU:
        raise BundleError("fp16 is for GPUs: a CPU would convert every number back and forth; use fp32")
    session = start(halved(model) if execution.precision == "fp16" else model, execution)
    on_gpu = session.get_providers()[0] != CPU
    if execution.precision == "fp16" and not on_gpu:
        session = start(model, replace(execution, providers=(CPU,), precision="fp32"))
    return Bound(session, Placement("cuda", DEVICE, gpu_buffers(DEVICE)) if on_gpu else None)


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
