"""The four views as a whole: against Pillow and torchvision, and keyed to (seed, epoch, index) alone."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as reference
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from detco_core.contract.config import ViewsConfig
from detco_core.data.synthetic import photo
from detco_core.views.auto_augment import draw_auto_augment
from detco_core.views.crops import draw_crop, resized_crop
from detco_core.views.operations import apply_steps
from detco_core.views.patches import cut_patches, draw_cuts
from detco_core.views.photometric import draw_photometric, recolour
from detco_core.views.pipeline import ViewPipeline, Views, sample_rng
from detco_core.views.rand_augment import draw_rand_augment

Policy = Literal["rand_augment", "auto_augment"]

SMALL = ViewsConfig(global_size=64, local_size=60, patch_size=16)
THEIRS = {
    "brightness": reference.adjust_brightness,
    "contrast": reference.adjust_contrast,
    "saturation": reference.adjust_saturation,
    "hue": reference.adjust_hue,
}


def slow_view(image: Image.Image, scale: tuple[float, float], size: int, rng: np.random.Generator) -> Tensor:
    box, draw = draw_crop(image.height, image.width, scale, rng), draw_photometric(SMALL, rng)
    cut = image.crop((box.left, box.top, box.left + box.width, box.top + box.height))
    cut = cut.resize((size, size), Image.Resampling.BILINEAR)
    x = torch.from_numpy(np.array(reference.hflip(cut) if draw.flip else cut)).permute(2, 0, 1) / 255
    for name, factor in draw.jitter:
        x = THEIRS[name](x, factor)
    x = reference.rgb_to_grayscale(x, num_output_channels=3) if draw.gray else x
    return reference.gaussian_blur(x, [23, 23], [draw.blur, draw.blur]) if draw.blur else x


def slow_views(image: Image.Image, rng: np.random.Generator) -> list[Tensor]:
    views = [slow_view(image, SMALL.global_scale, 64, rng) for _ in range(2)]
    for _ in range(2):
        region = slow_view(image, SMALL.local_scale, 60, rng)
        cuts = draw_cuts(3, 4, rng)
        corners = [
            (20 * (cell // 3) + cuts.offsets[cell, 0], 20 * (cell % 3) + cuts.offsets[cell, 1]) for cell in range(9)
        ]
        patches = [region[:, y : y + 16, x : x + 16] for y, x in corners]
        views.append(torch.stack([patches[cell] for cell in cuts.order]))
    return views


def assert_equal(first: Views, second: Views) -> None:
    for a, b in zip(first, second, strict=True):
        assert a is not None
        assert b is not None
        assert torch.equal(a, b)


@pytest.mark.parametrize("index", range(12))
def test_views_equal_the_slow_path_with_the_same_draws(index: int) -> None:
    image = photo(index, (150, 110))
    views = ViewPipeline(SMALL, local=True)(image, sample_rng(3, 1, index))
    for ours, theirs in zip(views, slow_views(image, sample_rng(3, 1, index)), strict=True):
        assert ours is not None
        difference = (ours - theirs * 255).abs()
        # One level of the resize may become a few through jitter: factors multiply to at most 1.4 cubed.
        assert difference.max() <= 6
        assert difference.mean() <= 0.6


def test_shapes_and_types_of_the_published_sizes() -> None:
    views = ViewPipeline(ViewsConfig(), local=True)(photo(0), sample_rng(0, 0, 0))
    shapes = [(3, 224, 224), (3, 224, 224), (9, 3, 64, 64), (9, 3, 64, 64)]
    assert [tuple(view.shape) for view in views if view is not None] == shapes
    assert all(view.dtype == torch.uint8 for view in views if view is not None)


def test_the_four_views_differ() -> None:
    views = ViewPipeline(SMALL, local=True)(photo(0), sample_rng(0, 0, 0))
    assert views.local_query is not None
    assert views.local_key is not None
    assert not torch.equal(views.global_query, views.global_key)
    assert not torch.equal(views.local_query, views.local_key)


def test_without_local_views_the_global_ones_stay() -> None:
    image = photo(1)
    whole = ViewPipeline(SMALL, local=True)(image, sample_rng(0, 0, 5))
    alone = ViewPipeline(SMALL, local=False)(image, sample_rng(0, 0, 5))
    assert alone.local_query is None
    assert alone.local_key is None
    assert torch.equal(alone.global_query, whole.global_query)
    assert torch.equal(alone.global_key, whole.global_key)


def test_views_are_a_function_of_the_key_and_the_image_alone() -> None:
    pipeline, images = ViewPipeline(SMALL, local=True), [photo(n) for n in range(3)]
    forwards = [pipeline(image, sample_rng(1, 2, n)) for n, image in enumerate(images)]
    torch.manual_seed(99)
    np.random.seed(99)
    for n in (2, 0, 1):
        assert_equal(pipeline(images[n], sample_rng(1, 2, n)), forwards[n])


def test_views_do_not_depend_on_the_number_of_threads() -> None:
    pipeline, image = ViewPipeline(ViewsConfig(), local=True), photo(7, (500, 400))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        single = [pipeline(image, sample_rng(0, 0, n)) for n in range(4)]
        torch.set_num_threads(4)
        for n, views in enumerate(single):
            assert_equal(pipeline(image, sample_rng(0, 0, n)), views)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1), (2, 3), (31, 4000)])
@pytest.mark.parametrize("augment", [False, True])
def test_any_size_of_image_gives_views(size: tuple[int, int], augment: bool) -> None:
    config = ViewsConfig(global_size=64, local_size=60, patch_size=16, augment="rand_augment" if augment else "none")
    pipeline, image = ViewPipeline(config, local=True), Image.new("RGB", size, (10, 200, 30))
    for index in range(8):
        assert pipeline(image, sample_rng(0, 0, index)).global_query.shape == (3, 64, 64)


@pytest.mark.parametrize("policy", ["rand_augment", "auto_augment"])
def test_a_policy_changes_global_views_only(policy: Policy) -> None:
    changed, image = 0, photo(2)
    config = replace(SMALL, augment=policy)
    for index in range(8):
        plain = ViewPipeline(SMALL, local=False)(image, sample_rng(0, 0, index))
        views = ViewPipeline(config, local=False)(image, sample_rng(0, 0, index))
        changed += not torch.equal(views.global_query, plain.global_query)
    assert changed >= 6
    local = ViewPipeline(replace(config, global_scale=(1, 1)), local=True)._local_view
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    assert torch.equal(
        local(pixels, sample_rng(0, 0, 1)), ViewPipeline(SMALL, local=True)._local_view(pixels, sample_rng(0, 0, 1))
    )


@pytest.mark.parametrize("policy", ["rand_augment", "auto_augment"])
def test_a_policy_is_applied_after_crop_and_flip_and_before_colours(policy: Policy) -> None:
    config, image = replace(SMALL, augment=policy), photo(5, (150, 110))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    for index in range(6):
        rng = sample_rng(2, 0, index)
        box, draw = draw_crop(110, 150, config.global_scale, rng), draw_photometric(config, rng)
        steps = draw_rand_augment(config, rng) if policy == "rand_augment" else draw_auto_augment(rng)
        view = resized_crop(pixels, box, 64)
        view = apply_steps(view.flip(-1) if draw.flip else view, steps, config.statistics[0])
        views = ViewPipeline(config, local=False)(image, sample_rng(2, 0, index))
        assert torch.equal(views.global_query, recolour(view, draw))


def test_patches_have_draws_of_their_own_when_asked_for() -> None:
    config, image = replace(SMALL, patch_colors="patch"), photo(5, (150, 110))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    for index in range(4):
        rng = sample_rng(1, 2, index)
        region = resized_crop(pixels, draw_crop(110, 150, config.local_scale, rng), 60)
        patches = cut_patches(region, 3, 16, draw_cuts(3, 4, rng))
        expected = []
        for patch in patches:
            draw = draw_photometric(config, rng)
            expected.append(recolour(patch.flip(-1) if draw.flip else patch, draw))
        found = ViewPipeline(config, local=True)._local_view(pixels, sample_rng(1, 2, index))
        assert torch.equal(found, torch.stack(expected))


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (ViewsConfig(global_size=96, local_size=96, grid=2, patch_size=32), (4, 3, 32, 32)),
        (ViewsConfig(global_size=33, local_size=68, grid=4, patch_size=17), (16, 3, 17, 17)),
        (ViewsConfig(global_size=320, local_size=80, grid=1, patch_size=80), (1, 3, 80, 80)),
        (ViewsConfig(global_size=64, local_size=80, grid=5, patch_size=16, patch_colors="patch"), (25, 3, 16, 16)),
    ],
)
def test_other_sizes_and_grids(config: ViewsConfig, shape: tuple[int, ...]) -> None:
    for index in range(4):
        views = ViewPipeline(config, local=True)(photo(index, (120, 90)), sample_rng(0, 0, index))
        assert views.global_key.shape == (3, config.global_size, config.global_size)
        assert views.local_query is not None
        assert views.local_query.shape == shape


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 12])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_any_number_of_channels_is_cropped_flipped_and_blurred_alike(channels: int, dtype: str) -> None:
    config = replace(SMALL, channels=channels, bit_depth=16 if dtype == "uint16" else 8)
    top = np.iinfo(dtype).max
    image = np.random.default_rng(0).integers(0, top, (70, 90, channels), dtype, endpoint=True)
    for index in range(4):
        views = ViewPipeline(config, local=True)(image, sample_rng(0, 0, index))
        assert views.local_key is not None
        assert views.local_key.shape == (9, channels, 16, 16)
        assert views.global_query.dtype == (torch.float32 if dtype == "uint16" else torch.uint8)
        for channel in range(channels):
            one = replace(config, channels=1)
            alone = ViewPipeline(one, local=True)(image[:, :, channel, None], sample_rng(0, 0, index))
            for whole, part in zip(views, alone, strict=True):
                assert whole is not None
                assert part is not None
                # The resize of bytes has a vector form for up to four channels, which rounds otherwise.
                difference = whole[..., channel : channel + 1, :, :].float() - part.float()
                assert difference.abs().max() <= 1


def test_sixteen_bits_are_finer_than_eight_and_agree_with_them() -> None:
    gray = np.asarray(photo(1, (90, 70)).convert("L"))[:, :, None]
    deep = replace(SMALL, channels=1, bit_depth=16)
    for index in range(4):
        fine = ViewPipeline(deep, local=True)(gray.astype(np.uint16) * 257, sample_rng(0, 0, index)).global_query
        coarse = ViewPipeline(replace(deep, bit_depth=8), local=True)(gray, sample_rng(0, 0, index)).global_query
        assert (fine - coarse.float()).abs().max() <= 1.5
        assert (fine != fine.round()).any()
        assert 0 <= fine.min() <= fine.max() <= 255


KEYS = st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**40), st.integers(0, 2**40))


@given(first=KEYS, second=KEYS)
def test_keys_have_their_own_numbers(first: tuple[int, int, int], second: tuple[int, int, int]) -> None:
    numbers, others = sample_rng(*first).random(16), sample_rng(*second).random(16)
    assert np.array_equal(numbers, others) == (first == second)
    assert first == second or not set(numbers) & set(others)


def test_neighbouring_keys_share_no_number() -> None:
    keys = [(seed, epoch, index) for seed in range(2) for epoch in range(3) for index in range(6)]
    numbers = [number for key in keys for number in sample_rng(*key).random(64)]
    assert len(set(numbers)) == len(keys) * 64


def test_the_stream_is_fixed() -> None:
    # A stored value: data of a running experiment must not change under a new version of ours or of NumPy.
    assert sample_rng(7, 3, 12345).random(3).tolist() == [0.763541626871331, 0.4670139675542364, 0.49204780134111215]
