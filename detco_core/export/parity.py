"""Compares an exported file with the network it came from, output by output, and refuses what differs."""

import math
from collections.abc import Iterator

import numpy as np

from detco_core.contract.errors import ExportError
from detco_core.contract.manifest import Parity
from detco_core.export.levels import Array, Levels

TOLERANCE = 1e-4
IMAGES = ((224, 224), (160, 256), (101, 333))
"""Heights and widths: the usual one, a wide one, and one that no stride divides."""
BATCHES = (1, 3)


def compare(file: str, expected: Levels, got: Levels, tolerance: float = TOLERANCE) -> Parity:
    """Run both on every size and batch of this module, on seeded noise.

    Args:
        file: name of the exported file, for the message.
        expected: the outputs as torch computes them.
        got: the outputs as the file gives them.
        tolerance: largest `relative_error` of an output that is let through.

    Raises:
        ExportError: naming the file, the output, the size and the error.
    """
    worst = 0.0
    for images in _noise():
        reference, candidate = expected(images), got(images)
        for output, values in reference.items():
            error = _error(f"{file}: {output} on images of shape {images.shape}", values, candidate[output])
            # Written so that NaN is refused too.
            if not error <= tolerance:
                raise ExportError(
                    f"{file}: {output} differs from torch by {error:.3g} (relative; {tolerance:g} is allowed) "
                    f"on images of shape {images.shape}; nothing was exported"
                )
            worst = max(worst, error)
    return Parity(relative_error=worst, tolerance=tolerance, images=IMAGES)


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


def _noise() -> Iterator[Array]:
    random = np.random.default_rng(0)
    for height, width in IMAGES:
        for batch in BATCHES:
            yield random.standard_normal((batch, 3, height, width), dtype=np.float32)
