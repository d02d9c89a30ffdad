"""Photometric operations against torchvision on floats, and the hue also against colorsys, pixel by pixel."""

import colorsys
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as reference
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from torch import Tensor

from detco_core.data.synthetic import photo
from detco_core.views import color


def planes(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).to(torch.float32)


@pytest.fixture(params=["photo", "noise"])
def x(request: pytest.FixtureRequest) -> Tensor:
    if request.param == "photo":
        return planes(photo(2, (97, 64)))
    return torch.randint(0, 256, (3, 64, 97), generator=torch.Generator().manual_seed(0)).to(torch.float32)


# torchvision's grey weights (0.2989, ...) add up to 0.9999, ours to 1: a tenth of a grey level at most.
@pytest.mark.parametrize(
    ("operation", "theirs", "factors", "tolerance"),
    [
        (color.adjust_brightness, reference.adjust_brightness, (0.0, 0.6, 1.0, 1.4), 1e-3),
        (color.adjust_contrast, reference.adjust_contrast, (0.0, 0.6, 1.0, 1.4), 0.1),
        (color.adjust_saturation, reference.adjust_saturation, (0.0, 0.6, 1.0, 1.4), 0.1),
        (color.adjust_hue, reference.adjust_hue, (-0.5, -0.1, 0.0, 0.03, 0.1, 0.5), 1e-2),
    ],
)
def test_adjustments_equal_torchvisions(
    x: Tensor,
    operation: Callable[[Tensor, float], Tensor],
    theirs: Callable[[Tensor, float], Tensor],
    factors: tuple[float, ...],
    tolerance: float,
) -> None:
    before = x.clone()
    for factor in factors:
        torch.testing.assert_close(operation(x, factor), theirs(x / 255, factor) * 255, atol=tolerance, rtol=0)
    assert torch.equal(x, before)


def test_grayscale_equals_torchvisions(x: Tensor) -> None:
    torch.testing.assert_close(color.grayscale(x), reference.rgb_to_grayscale(x / 255) * 255, atol=0.1, rtol=0)


@given(
    rgb=st.tuples(*[st.integers(0, 255)] * 3),
    turn=st.floats(-0.5, 0.5, allow_subnormal=False),
)
def test_hue_of_any_pixel_equals_colorsys(rgb: tuple[int, int, int], turn: float) -> None:
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in rgb))
    expected = colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value)
    ours = color.adjust_hue(torch.tensor(rgb, dtype=torch.float32).view(3, 1, 1), turn)
    np.testing.assert_allclose(ours.flatten().numpy() / 255, expected, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.1, 0.4, 1.0, 1.7, 2.0])
def test_blur_equals_torchvisions_full_kernel(x: Tensor, sigma: float) -> None:
    # MoCo v2's kernel is 23 wide; ours ends at 3 sigma, which is worth under one grey level.
    theirs = reference.gaussian_blur(x, [23, 23], [sigma, sigma])
    assert (color.gaussian_blur(x, sigma) - theirs).abs().max() < 1.0
    width = 2 * (len(color.gaussian_taps(sigma)) - 1) + 1
    same_kernel = reference.gaussian_blur(x, [width, width], [sigma, sigma])
    torch.testing.assert_close(color.gaussian_blur(x, sigma), same_kernel, atol=1e-2, rtol=0)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_blur_is_as_strong_as_pillows(sigma: float) -> None:
    image = photo(4, (128, 128))
    theirs = planes(image.filter(ImageFilter.GaussianBlur(sigma)))
    inner = slice(8, -8)
    difference = (color.gaussian_blur(planes(image), sigma) - theirs)[:, inner, inner].abs()
    assert difference.mean() < 1.0


def test_blur_keeps_a_flat_image_and_the_sum_of_an_impulse() -> None:
    flat = torch.full((3, 31, 31), 77.0)
    torch.testing.assert_close(color.gaussian_blur(flat, 1.3), flat, atol=1e-4, rtol=0)
    impulse = torch.zeros(1, 41, 41)
    impulse[0, 20, 20] = 255.0
    assert color.gaussian_blur(impulse, 2.0).sum().item() == pytest.approx(255.0, abs=1e-2)
