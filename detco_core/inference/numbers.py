"""Features as smaller numbers: half precision, or bytes with a scale."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.features import DType

_STEPS = 127
"""Of int8 on each side of zero; -128 is not used, so that the scale is one number for both."""


class Cast(NamedTuple):
    """What a cast did."""

    overflow: int = 0
    """Finite values too large for float16, which became infinite; values not finite that int8 cannot say, cut."""
    scale: float | None = None
    """Of int8: `value = number * scale`, at most half of it off."""


def cast(feature: NDArray[np.floating[Any]], dtype: DType) -> tuple[NDArray[Any], Cast]:
    """`feature` in another type, in one piece of memory; float16 that the network itself computed in stays as it is."""
    if dtype == "float32" or (dtype == feature.dtype == np.float16):
        return np.ascontiguousarray(feature, dtype), Cast()
    return _half(feature) if dtype == "float16" else _bytes(feature)


def _half(feature: NDArray[np.float32]) -> tuple[NDArray[Any], Cast]:
    with np.errstate(over="ignore"):
        half = np.ascontiguousarray(feature, np.float16)
    # Only what was finite overflows; infinities of the network's own are its answer.
    return half, Cast(int(np.count_nonzero(np.isinf(half) & np.isfinite(feature))))


def _bytes(feature: NDArray[np.float32]) -> tuple[NDArray[Any], Cast]:
    """Symmetric, one scale a tensor: the largest value is 127 steps. NaN becomes 0, infinity the largest."""
    finite = np.isfinite(feature)
    peak = float(np.abs(feature, where=finite, out=np.zeros_like(feature)).max(initial=0.0))
    # A tensor of zeros has no scale of its own; one of the smallest floats would divide by zero.
    scale = max(peak / _STEPS, float(np.finfo(np.float32).tiny))
    steps = np.nan_to_num(feature / np.float32(scale), nan=0.0, posinf=_STEPS, neginf=-_STEPS)
    numbers = np.ascontiguousarray(np.rint(np.clip(steps, -_STEPS, _STEPS)), np.int8)
    return numbers, Cast(int(feature.size - np.count_nonzero(finite)), scale)
