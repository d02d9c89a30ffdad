"""A bundle's network, opened: only what was asked for is computed, and it says on what it really runs."""

import hashlib
import logging
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.errors import BundleError
from detco_core.contract.manifest import BundleFile, Manifest, read_manifest
from detco_core.inference.sessions.allocator import give_back
from detco_core.inference.sessions.binding import Bound, Maps, Staged
from detco_core.inference.sessions.execution import CPU, TENSORRT, Execution, Precision, gpu_name
from detco_core.inference.sessions.graph import Needs, cut, needs
from detco_core.inference.sessions.opening import bound
from detco_core.inference.sessions.tensorrt import Profile, engine_folder, profile_of, tensorrt_options

log = logging.getLogger(__name__)

POOLED = "pooled"

_WORTH_CUTTING = 0.9
"""A second session holds its weights twice: only when it leaves out more than a tenth of the graph."""


class Session:
    """One opened model. `run` may be called from several threads."""

    def __init__(
        self,
        bundle: Path,
        manifest: Manifest,
        execution: Execution,
        needs: Needs,
        whole: Bound,
        profile: Profile | None,
    ) -> None:
        self.bundle = bundle
        self.manifest = manifest
        self.execution = execution
        self._needs = needs
        self._whole = whole
        self._profile = profile if whole.provider == TENSORRT else None
        """What the whole graph computes; None: everything."""
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
        profile, engines = None, None
        if execution.order[0] == TENSORRT:
            profile = profile_of(manifest.input, execution)
            sha256 = manifest.files["onnx"].sha256
            folder = engine_folder(bundle, sha256, gpu_name(), profile, execution.precision)
            engines = tensorrt_options(execution, profile, folder)
        whole = bound(model, execution, engines)
        del model
        give_back()
        return cls(bundle, manifest, execution, found, whole, profile)

    @property
    def precision(self) -> Precision:
        """What it really computes in."""
        return "fp32" if self.provider == CPU else self.execution.precision

    @property
    def provider(self) -> str:
        """The provider really obtained."""
        return self._whole.provider

    @property
    def opened(self) -> int:
        """Times that the weights are held: for the whole graph, and for each part of it that runs by itself."""
        return len({id(part) for part in (self._whole, *self._parts.values())})

    def run(self, array: NDArray[np.float32], outputs: Sequence[str]) -> Maps:
        """Compute the named outputs, and as little else as can be, of `array` `[N, C, H, W]`; float16 in `fp16`."""
        return self.stage([array], outputs).compute()

    def stage(self, arrays: Sequence[NDArray[np.float32]], outputs: Sequence[str]) -> Staged:
        """Bring images `[n, C, H, W]` of one size to where they are computed, as one batch; `compute` does the rest."""
        shape = (sum(len(array) for array in arrays), *arrays[0].shape[1:])
        return self._bound_for(outputs, shape).stage(arrays, outputs)

    def _bound_for(self, outputs: Iterable[str], shape: tuple[int, ...]) -> Bound:
        """The session that computes the outputs of a batch; TensorRT's own costs minutes to open, and is not cut."""
        if self._profile is not None and self._profile.covers(shape):
            return self._whole
        free = self._needs.computed_with(outputs)
        if self._needs.share(free) > _WORTH_CUTTING:
            if self._profile is None:
                return self._whole
            free = frozenset(self._needs.by_output)
        with self._lock:
            if free not in self._parts:
                self._parts[free] = self._part(free)
            return self._parts[free]

    def _part(self, free: frozenset[str]) -> Bound:
        """A session of its own for these outputs; the whole one where the file has gone, which computes more."""
        try:
            # Read again: keeping the model's bytes for this would double what an idle server holds.
            model = _verified(self.bundle, self.manifest.files["onnx"])
        except BundleError as error:
            # TensorRT has no engine for this size: there is no whole one to fall back on.
            if self._profile is not None:
                raise
            log.warning("%s is computed with all of the network from now on: %s", ", ".join(sorted(free)), error)
            return self._whole
        try:
            return bound(cut(model, free), self.execution.beside_tensorrt)
        finally:
            del model
            give_back()


def outputs_of(manifest: Manifest) -> tuple[str, ...]:
    """Names of the ONNX outputs: the levels, then `pooled`."""
    return (*(level.name for level in manifest.levels), POOLED)


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
