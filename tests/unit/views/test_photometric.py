"""The photometric draw: its distribution, and its application against torchvision step by step."""

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as reference
from torch import Tensor

from detco_core.contract.config import ViewsConfig
from detco_core.data.synthetic import photo
from detco_core.views.photometric import ADJUSTMENTS, Adjustment, Photometric, draw_photometric, recolour

THEIRS = {
    "brightness": reference.adjust_brightness,
    "contrast": reference.adjust_contrast,
    "saturation": reference.adjust_saturation,
    "hue": reference.adjust_hue,
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def pixels(seed: int = 1) -> Tensor:
    return torch.from_numpy(np.array(photo(seed, (80, 60)))).permute(2, 0, 1)


def slow_recolour(image: Tensor, draw: Photometric) -> Tensor:
    x = image / 255
    for name, factor in draw.jitter:
        x = THEIRS[name](x, factor)
    if draw.gray:
        x = reference.rgb_to_grayscale(x, num_output_channels=3)
    if draw.blur:
        x = reference.gaussian_blur(x, [23, 23], [draw.blur, draw.blur])
    return (x * 255).round().to(torch.uint8)


@pytest.mark.parametrize("seed", range(24))
def test_recolour_equals_torchvision_applied_in_order(seed: int) -> None:
    draw = draw_photometric(ViewsConfig(), rng(seed))
    difference = recolour(pixels(seed), draw).int() - slow_recolour(pixels(seed), draw).int()
    assert difference.abs().max() <= 1


def test_order_of_the_jitter_matters() -> None:
    # Guards the test above: an implementation that sorts the adjustments would differ by more than its tolerance.
    steps: tuple[tuple[Adjustment, float], ...] = (("brightness", 1.4), ("contrast", 0.6), ("saturation", 1.4))
    forth = recolour(pixels(), Photometric(False, steps, False, None))
    back = recolour(pixels(), Photometric(False, steps[::-1], False, None))
    assert (forth.int() - back.int()).abs().max() > 5


def test_nothing_drawn_leaves_the_pixels() -> None:
    image = pixels()
    assert torch.equal(recolour(image, Photometric(True, (), False, None)), image)


def test_draws_have_the_published_frequencies() -> None:
    generator, config, count = rng(5), ViewsConfig(), 5000
    draws = [draw_photometric(config, generator) for _ in range(count)]
    shares = {
        0.5: sum(draw.flip for draw in draws),
        0.8: sum(bool(draw.jitter) for draw in draws),
        0.2: sum(draw.gray for draw in draws),
    }
    for probability, found in shares.items():
        assert found / count == pytest.approx(probability, abs=0.03)
    sigmas = [draw.blur for draw in draws if draw.blur is not None]
    assert len(sigmas) / count == pytest.approx(0.5, abs=0.03)
    assert 0.1 <= min(sigmas) < 0.12
    assert 1.98 < max(sigmas) <= 2.0


def test_factors_are_uniform_in_their_ranges_and_the_order_is_random() -> None:
    generator, config = rng(6), ViewsConfig(jitter_probability=1.0)
    jitters = [draw_photometric(config, generator).jitter for _ in range(4000)]
    for name in ADJUSTMENTS:
        factors = [dict(jitter)[name] for jitter in jitters]
        middle, reach = (0.0, 0.1) if name == "hue" else (1.0, 0.4)
        assert np.mean(factors) == pytest.approx(middle, abs=reach / 20)
        assert np.quantile(factors, [0.25, 0.75]) == pytest.approx(
            [middle - reach / 2, middle + reach / 2], abs=reach / 10
        )
        assert max(abs(factor - middle) for factor in factors) <= reach
        first = sum(jitter[0][0] == name for jitter in jitters)
        assert first / len(jitters) == pytest.approx(0.25, abs=0.03)


def test_an_adjustment_of_no_strength_is_left_out() -> None:
    draw = draw_photometric(ViewsConfig(jitter=(0.0, 0.4, 0.0, 0.0), jitter_probability=1.0), rng())
    assert [name for name, _ in draw.jitter] == ["contrast"]


def test_gray_comes_before_blur_at_one_third_of_the_work_and_no_difference() -> None:
    image = pixels()
    gray = recolour(image, Photometric(False, (), True, 1.5))
    assert gray.shape == image.shape
    assert torch.equal(gray[0], gray[1])
    assert torch.equal(gray[0], gray[2])
    assert (gray.int() - slow_recolour(image, Photometric(False, (), True, 1.5)).int()).abs().max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 7])
def test_images_without_colours_are_only_flipped_and_blurred(channels: int) -> None:
    config = ViewsConfig(channels=channels, jitter_probability=1.0, grayscale_probability=1.0, blur_probability=1.0)
    draws = [draw_photometric(config, rng(seed)) for seed in range(50)]
    assert all(not draw.jitter and not draw.gray and draw.blur for draw in draws)
    assert len({draw.flip for draw in draws}) == 2
    image = torch.randint(0, 256, (channels, 40, 50), dtype=torch.uint8)
    difference = recolour(image, draws[0]).int() - slow_recolour(image, draws[0]).int()
    assert difference.abs().max() <= 1


@pytest.mark.parametrize("seed", range(8))
def test_floats_are_not_rounded_and_left_as_they_were(seed: int) -> None:
    draw = draw_photometric(ViewsConfig(), rng(seed))
    exact, before = pixels(seed).float(), pixels(seed).float()
    found = recolour(exact, draw)
    assert found.dtype == torch.float32
    assert torch.equal(exact, before)
    assert (found - recolour(pixels(seed), draw).float()).abs().max() <= 0.501
