"""What a model computes before it counts as ready, so that no request pays for kernels, memory and engines."""

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.errors import BundleError
from detco_core.contract.manifest import Manifest
from detco_core.contract.shortage import is_out_of_memory
from detco_core.inference.sessions.execution import CPU
from detco_core.inference.sessions.session import POOLED, Session, outputs_of
from detco_core.inference.sessions.sizes import USUAL, Sides, default_sizes, padded

_LESS = "raise DETCO_SERVE_GPU_MEMORY, or lower DETCO_BATCH_IMAGES or DETCO_SERVE_WARM_SIZES"


def warm(session: Session, images: int) -> None:
    """Compute every level of one image and of a whole batch, at 224x224, the sizes asked for and, on a GPU, which looks
    for its kernels at every size it has not seen, the manifest's own.

    Raises:
        BundleError: there is no memory for one of them.
    """
    outputs = outputs_of(session.manifest)
    defaults = () if session.provider == CPU else default_sizes(session.manifest.input)
    # Twice: a size's first run tells how large its outputs are, the second takes the GPU's memory for them.
    times = 1 if session.provider == CPU else 2
    for size in dict.fromkeys((USUAL, *defaults, *session.execution.sizes)):
        for count in dict.fromkeys((1, images)):
            batch = grey(session.manifest, size, count)
            try:
                for _ in range(times):
                    session.run(batch, outputs)
            # onnxruntime's exceptions share no base class but Exception.
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                at_once = f"{count} of {batch.shape[2]}x{batch.shape[3]} at once"
                raise BundleError(f"no memory for {at_once}: {_LESS}: {error}") from error


def check_outputs(session: Session) -> None:
    """Compute noise; raise `BundleError` unless every output has the shape the manifest promises, and half precision
    holds every value.
    """
    manifest = session.manifest
    image = np.random.default_rng(0).standard_normal(grey(manifest, USUAL).shape, np.float32)
    height, width = image.shape[2:]
    promised = {
        level.name: (1, level.channels, -(-height // level.stride), -(-width // level.stride))
        for level in manifest.levels
    }
    maps = session.run(image, outputs_of(manifest))
    for name, shape in {**promised, POOLED: (1, manifest.pooled)}.items():
        if maps[name].shape != shape:
            raise BundleError(f"output {name} has shape {maps[name].shape}; the manifest promises {shape}")
        if session.precision == "fp16" and not np.isfinite(maps[name]).all():
            raise BundleError(f"output {name} has values beyond float16's range: this model cannot be served in fp16")


def grey(manifest: Manifest, size: Sides, count: int = 1) -> NDArray[np.float32]:
    """The mean colour, of a size the model takes: that one, or a little more."""
    spec = manifest.input
    return np.zeros((count, spec.channels, *padded(size, spec)), np.float32)
