"""Parity lets equal files through and names what differs, where, and by how much."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detco_core.contract.errors import ExportError
from detco_core.export.levels import OUTPUTS, Array, Levels
from detco_core.export.parity import BATCHES, IMAGES, compare, make_standard, relative_error
from detco_core.export.reading import TOLERANCE, Reading


def levels(images: Array) -> Mapping[str, Array]:
    """Stands for a network: every output a different multiple of the image."""
    return {name: images * (n + 1) for n, name in enumerate(OUTPUTS)}


STANDARD = make_standard(levels)


def file(outputs: Levels, tolerance: float = TOLERANCE, keys: int | None = None) -> Reading:
    return Reading(levels=outputs, library="some library 1.0", tolerance=tolerance, keys=keys)


def spoilt(output: str, error: float, size: tuple[int, int]) -> Levels:
    """`levels`, but for one value of one output at one size off by `error` of that output's largest."""

    def run(images: Array) -> Mapping[str, Array]:
        outputs = {name: value.copy() for name, value in levels(images).items()}
        if images.shape[2:] == size:
            outputs[output].flat[5] += error * np.abs(outputs[output]).max()
        return outputs

    return run


def test_equal_outputs_pass_with_what_was_compared() -> None:
    parity = compare("model.onnx", STANDARD, file(levels))
    assert (parity.relative_error, parity.tolerance, parity.images) == (0.0, 1e-4, IMAGES)
    assert (parity.proof, parity.library, parity.keys) == ("features", "some library 1.0", None)


def test_a_file_held_against_a_table_says_so() -> None:
    parity = compare("x", STANDARD, file(levels, tolerance=0.0, keys=120))
    assert (parity.proof, parity.keys, parity.tolerance) == ("keys", 120, 0.0)
    with pytest.raises(ExportError, match=r"\(relative; 0 is allowed\)"):
        compare("x", STANDARD, file(spoilt("res3", 1e-6, (224, 224)), tolerance=0.0, keys=120))


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_it_looks_at_sizes_no_stride_divides_wide_ones_and_batches(channels: int) -> None:
    seen: set[tuple[int, ...]] = set()

    def run(images: Array) -> Mapping[str, Array]:
        seen.add(images.shape)
        assert images.dtype == np.float32
        return levels(images)

    compare("model.onnx", make_standard(levels, channels), file(run))
    assert seen == {(batch, channels, *size) for batch in BATCHES for size in IMAGES}
    assert any(height != width for height, width in IMAGES)
    assert any(height % 32 and width % 32 for height, width in IMAGES)


def test_sizes_are_rounded_up_where_a_network_takes_no_others() -> None:
    assert make_standard(levels, multiple=32).sizes == ((224, 224), (160, 256), (128, 352))


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_difference_is_refused_by_output_size_and_amount(output: str) -> None:
    expected = rf"model\.onnx: {output} differs from torch by 0\.00[12]\d* .*\(1, 3, 101, 333\); nothing was exported"
    with pytest.raises(ExportError, match=expected):
        compare("model.onnx", STANDARD, file(spoilt(output, 1.5e-3, (101, 333))))


def test_a_difference_within_tolerance_is_reported() -> None:
    assert compare("x", STANDARD, file(spoilt("res3", 5e-5, (224, 224)))).relative_error == pytest.approx(
        5e-5, rel=0.01
    )
    with pytest.raises(ExportError):
        compare("x", STANDARD, file(spoilt("res3", 5e-5, (224, 224)), tolerance=1e-5))


def test_another_shape_and_values_that_are_not_finite_are_refused() -> None:
    def smaller(images: Array) -> Mapping[str, Array]:
        return {name: value[..., 1:] for name, value in levels(images).items()}

    def nan(images: Array) -> Mapping[str, Array]:
        return {name: np.full_like(value, np.nan) for name, value in levels(images).items()}

    with pytest.raises(ExportError, match=r"res2 .* has shape"):
        compare("x", STANDARD, file(smaller))
    with pytest.raises(ExportError, match="differs from torch by nan"):
        compare("x", STANDARD, file(nan))
    with pytest.raises(ExportError, match="not finite in torch: the weights diverged"):
        compare("x", make_standard(nan), file(nan))


@given(scale=st.floats(1e-3, 1e3), at=st.integers(0, 11), off=st.floats(1e-6, 10))
def test_relative_error_is_the_largest_difference_over_the_largest_value(scale: float, at: int, off: float) -> None:
    expected = (np.linspace(-1, 0.5, 12) * scale).astype(np.float32)
    got = expected.astype(np.float64)
    got[at] += off * scale
    slow = max(abs(g - float(e)) for g, e in zip(got, expected, strict=True)) / max(abs(float(e)) for e in expected)
    assert relative_error(expected, got.astype(np.float64)) == pytest.approx(slow, rel=1e-6)


def test_relative_error_of_zeros() -> None:
    zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert relative_error(zeros, zeros) == 0.0
    assert relative_error(zeros, ones) == float("inf")
