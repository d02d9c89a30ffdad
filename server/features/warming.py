"""What a model computes before it counts as ready, so that no request pays for kernels, memory and engines."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.errors import BundleError
from detco_core.contract.features import ResizeShortSide, resized
from detco_core.contract.manifest import InputSpec, Manifest
from detco_core.inference.execution import CPU
from detco_core.inference.session import POOLED, Session, outputs_of

Sides = tuple[int, int]
"""Height and width in pixels."""

_USUAL: Sides = (224, 224)
_PHOTOS = ((4, 3), (3, 2), (3, 4), (2, 3))


def warm(session: Session, images: int, sizes: Collection[Sides]) -> None:
    """Compute every level of one image and of a whole batch, at 224x224, `sizes` and the `default_sizes`."""
    outputs = outputs_of(session.manifest)
    defaults = () if session.provider == CPU else default_sizes(session.manifest.input)
    # Twice: a size's first run tells how large its outputs are, the second takes the GPU's memory for them.
    times = 1 if session.provider == CPU else 2
    for size in dict.fromkeys((_USUAL, *defaults, *sizes)):
        for count in dict.fromkeys((1, images)):
            batch = np.repeat(grey(session.manifest, size), count, axis=0)
            for _ in range(times):
                session.run(batch, outputs)


def default_sizes(spec: InputSpec) -> list[Sides]:
    """What the manifest's resize makes of photos of 4:3 and 3:2, lying and standing, since a GPU looks for its kernels
    at every size it has not seen. None where it keeps every image's size.
    """
    if spec.short_side is None:
        return []
    resize = ResizeShortSide(short_side=spec.short_side, max_side=spec.max_side)
    photos = [resized(1000 * width, 1000 * height, resize) for width, height in _PHOTOS]
    return list(dict.fromkeys((height, width) for width, height in photos))


def check_outputs(session: Session) -> None:
    """Compute noise; raise `BundleError` unless every output has the shape the manifest promises, and half precision
    holds every value.
    """
    manifest = session.manifest
    image = np.random.default_rng(0).standard_normal(grey(manifest, _USUAL).shape, np.float32)
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


def grey(manifest: Manifest, size: Sides) -> NDArray[np.float32]:
    """The mean colour, of a size the model takes: that one, or a little more."""
    spec = manifest.input
    height, width = (-(-side // spec.multiple) * spec.multiple for side in size)
    return np.zeros((1, spec.channels, height, width), np.float32)
