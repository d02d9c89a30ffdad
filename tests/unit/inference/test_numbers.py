"""Smaller numbers, against their definition one value at a time."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detco_core.inference.numbers import cast


@given(arrays(np.float32, st.tuples(st.just(1), st.integers(0, 4), st.integers(1, 3))))
def test_bytes_are_at_most_half_a_step_off(feature: np.ndarray) -> None:
    numbers, made = cast(feature, "int8")
    assert numbers.dtype == np.int8
    assert made.scale is not None
    peak = max((abs(float(x)) for x in feature.ravel() if math.isfinite(x)), default=0.0)
    assert made.scale == pytest.approx(max(peak / 127, float(np.finfo(np.float32).tiny)), rel=1e-6)
    assert made.overflow == sum(not math.isfinite(x) for x in feature.ravel())
    for value, number in zip(feature.ravel().astype(float), numbers.ravel(), strict=True):
        if math.isfinite(value):
            assert abs(value - number * made.scale) <= 0.5001 * made.scale
        else:
            assert number == (0 if math.isnan(value) else math.copysign(127, value))


def test_floats_stay_in_one_piece() -> None:
    feature = np.arange(12, dtype=np.float32).reshape(3, 4).T
    for dtype in ("float32", "float16"):
        array, made = cast(feature, dtype)
        assert array.flags.c_contiguous
        assert (made.overflow, made.scale) == (0, None)
        np.testing.assert_array_equal(array, feature)
