"""The four views of one image: T1 and T2 (global, to query and key encoder), T3 and T4 (local, likewise).

Order within a view (MoCo v2): crop and resize, flip, [RandAugment or AutoAugment, global only], colour jitter, grey,
blur; a local region is then cut into patches, which therefore share one photometric draw (DetCo section 3), unless
`patch_colors` asks for one each.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from detco_core.contract.config import ViewsConfig
from detco_core.views.auto_augment import draw_auto_augment
from detco_core.views.crops import draw_crop, resized_crop
from detco_core.views.operations import Step, apply_steps
from detco_core.views.patches import cut_patches, draw_cuts
from detco_core.views.photometric import Photometric, draw_photometric, recolour
from detco_core.views.rand_augment import draw_rand_augment


class Views(NamedTuple):
    """The views of one image, or of a batch when each tensor has a leading N.

    uint8, or float32 of 0..255 where images have 16 bits. C is `channels`, G `global_size`, P the number of patches, s
    `patch_size`.
    """

    global_query: Tensor
    """[C, G, G]: T1."""
    global_key: Tensor
    """[C, G, G]: T2."""
    local_query: Tensor | None
    """[P, C, s, s]: T3; None for a method without local views."""
    local_key: Tensor | None
    """[P, C, s, s]: T4."""


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers of one image in one epoch, whoever loads it, in whatever batch.

    Philox is a counter-based generator: seed and epoch are its key, the index the highest word of its counter, so two
    images never share numbers and none depends on how many were drawn before.
    """
    return np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, 0, 0, index]))


class ViewPipeline:
    """Makes the views of one image; holds no state, so one pipeline serves any number of processes."""

    def __init__(self, config: ViewsConfig, local: bool) -> None:
        self.config = config
        self.local = local

    def __call__(self, image: Image.Image | NDArray[np.uint8] | NDArray[np.uint16], rng: np.random.Generator) -> Views:
        """Draw and make the views of an image of any size from 1x1: RGB, or an array [H, W, C]."""
        pixels = _planes(image)
        global_query, global_key = self._global_view(pixels, rng), self._global_view(pixels, rng)
        if not self.local:
            return Views(global_query, global_key, None, None)
        return Views(global_query, global_key, self._local_view(pixels, rng), self._local_view(pixels, rng))

    def _global_view(self, pixels: Tensor, rng: np.random.Generator) -> Tensor:
        config = self.config
        box = draw_crop(pixels.shape[1], pixels.shape[2], config.global_scale, rng)
        draw = draw_photometric(config, rng)
        view = _flipped(resized_crop(pixels, box, config.global_size), draw)
        if config.augment != "none":
            view = apply_steps(view, self._draw_policy(rng), config.statistics[0])
        return recolour(view, draw)

    def _draw_policy(self, rng: np.random.Generator) -> tuple[Step, ...]:
        return draw_rand_augment(self.config, rng) if self.config.augment == "rand_augment" else draw_auto_augment(rng)

    def _local_view(self, pixels: Tensor, rng: np.random.Generator) -> Tensor:
        config = self.config
        box = draw_crop(pixels.shape[1], pixels.shape[2], config.local_scale, rng)
        shared = draw_photometric(config, rng) if config.patch_colors == "region" else None
        region = resized_crop(pixels, box, config.local_size)
        if shared is not None:
            region = recolour(_flipped(region, shared), shared)
        cuts = draw_cuts(config.grid, config.local_size // config.grid - config.patch_size, rng)
        patches = cut_patches(region, config.grid, config.patch_size, cuts)
        if shared is not None:
            return patches
        draws = [draw_photometric(config, rng) for _ in patches]
        pairs = zip(patches, draws, strict=True)
        return torch.stack([recolour(_flipped(patch, draw), draw) for patch, draw in pairs])


def _planes(image: Image.Image | NDArray[np.uint8] | NDArray[np.uint16]) -> Tensor:
    """[C, H, W]: uint8, or float32 of 0..255 for 16 bits."""
    # Interleaved values seen as planes: channels last, which the resize is fast on. A copy: torch wants to own it.
    pixels = np.array(image)
    if pixels.dtype == np.uint16:
        pixels = pixels.astype(np.float32) / np.float32(257)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _flipped(view: Tensor, draw: Photometric) -> Tensor:
    return view.flip(-1) if draw.flip else view
