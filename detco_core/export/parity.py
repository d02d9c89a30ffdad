"""Compares an exported file with the network it came from, output by output, and refuses what differs."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from detco_core.contract.errors import ExportError
from detco_core.contract.manifest import Parity
from detco_core.export.levels import Array, Levels
from detco_core.export.reading import Reading

IMAGES = ((224, 224), (160, 256), (101, 333))
"""Heights and widths: the usual one, a wide one, and one that no stride divides."""
BATCHES = (1, 3)


@dataclass(frozen=True, slots=True)
class Standard:
    """What every file is held to: seeded noise of each size and batch, and the outputs torch gives for it."""

    runs: tuple[tuple[Array, Mapping[str, Array]], ...]

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Heights and widths, each once."""
        return tuple(dict.fromkeys((images.shape[2], images.shape[3]) for images, _ in self.runs))


def make_standard(expected: Levels, channels: int = 3, multiple: int = 1) -> Standard:
    """Run `expected` on every size and batch of this module.

    Args:
        expected: the outputs as torch computes them.
        channels: of the images.
        multiple: sizes are rounded up to this, where the network takes no others.
    """
    sizes = tuple((_rounded(height, multiple), _rounded(width, multiple)) for height, width in IMAGES)
    return Standard(tuple((images, expected(images)) for images in _noise(sizes, channels)))


def compare(file: str, standard: Standard, got: Reading) -> Parity:
    """Hold a file that was read back to the standard.

    Args:
        file: name of the exported file, for the message.
        standard: images, and the outputs torch gives.
        got: an error above its tolerance is not let through.

    Raises:
        ExportError: naming the file, the output, the size and the error.
    """
    worst = 0.0
    for images, reference in standard.runs:
        candidate = got.levels(images)
        for output, values in reference.items():
            error = _error(f"{file}: {output} on images of shape {images.shape}", values, candidate[output])
            # Written so that NaN is refused too.
            if not error <= got.tolerance:
                raise ExportError(
                    f"{file}: {output} differs from torch by {error:.3g} (relative; {got.tolerance:g} is allowed) "
                    f"on images of shape {images.shape}; nothing was exported"
                )
            worst = max(worst, error)
    return Parity(
        proof="features" if got.keys is None else "keys",
        library=got.library,
        relative_error=worst,
        tolerance=got.tolerance,
        images=standard.sizes,
        keys=got.keys,
    )


def relative_error(expected: Array, got: Array) -> float:
    """Largest absolute difference over the largest absolute expected value; NaN when either is not finite."""
    with np.errstate(invalid="ignore"):
        difference = float(np.max(np.abs(got.astype(np.float64) - expected)))
    if difference == 0.0:
        return 0.0
    scale = float(np.max(np.abs(expected)))
    return difference / scale if scale else math.inf


def _error(where: str, expected: Array, got: Array) -> float:
    if not np.isfinite(expected).all():
        raise ExportError(f"{where} is not finite in torch: the weights diverged; export an earlier checkpoint")
    if got.shape != expected.shape:
        raise ExportError(f"{where} has shape {got.shape}, torch gives {expected.shape}; nothing was exported")
    return relative_error(expected, got)


def _noise(sizes: tuple[tuple[int, int], ...], channels: int) -> Iterator[Array]:
    random = np.random.default_rng(0)
    for height, width in sizes:
        for batch in BATCHES:
            yield random.standard_normal((batch, channels, height, width), dtype=np.float32)


def _rounded(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple
