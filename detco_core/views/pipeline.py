"""The four views of one image: T1 and T2 (global, to query and key encoder), T3 and T4 (local, likewise).

Order within a view (MoCo v2): crop and resize, flip, [RandAugment, global only], colour jitter, grey, blur; a local
region is then cut into patches, which therefore share one photometric draw (DetCo section 3).
"""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from detco_core.contract.config import ViewsConfig
from detco_core.views.crops import draw_crop, resized_crop
from detco_core.views.patches import cut_patches, draw_cuts
from detco_core.views.photometric import draw_photometric, recolour
from detco_core.views.rand_augment import draw_steps, rand_augment


class Views(NamedTuple):
    """The views of one image, or of a batch when each tensor has a leading N; uint8 RGB.

    G is `global_size`, P the number of patches, s `patch_size`.
    """

    global_query: Tensor
    """[3, G, G]: T1."""
    global_key: Tensor
    """[3, G, G]: T2."""
    local_query: Tensor | None
    """[P, 3, s, s]: T3; None for a method without local views."""
    local_key: Tensor | None
    """[P, 3, s, s]: T4."""


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

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Views:
        """Draw and make the views of an RGB image of any size from 1x1."""
        # Interleaved bytes seen as [3, H, W]: channels last, which the resize is fast on.
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        global_query, global_key = self._global_view(pixels, rng), self._global_view(pixels, rng)
        if not self.local:
            return Views(global_query, global_key, None, None)
        return Views(global_query, global_key, self._local_view(pixels, rng), self._local_view(pixels, rng))

    def _global_view(self, pixels: Tensor, rng: np.random.Generator) -> Tensor:
        config = self.config
        return self._view(
            pixels, config.global_scale, config.global_size, rng, augment=config.augment == "rand_augment"
        )

    def _local_view(self, pixels: Tensor, rng: np.random.Generator) -> Tensor:
        config = self.config
        region = self._view(pixels, config.local_scale, config.local_size, rng, augment=False)
        cuts = draw_cuts(config.grid, config.local_size // config.grid - config.patch_size, rng)
        return cut_patches(region, config.grid, config.patch_size, cuts)

    def _view(
        self, pixels: Tensor, scale: tuple[float, float], size: int, rng: np.random.Generator, *, augment: bool
    ) -> Tensor:
        box = draw_crop(pixels.shape[1], pixels.shape[2], scale, rng)
        draw = draw_photometric(self.config, rng)
        view = resized_crop(pixels, box, size)
        if draw.flip:
            view = view.flip(-1)
        if augment:
            view = rand_augment(view, draw_steps(self.config, rng), self.config.statistics[0])
        return recolour(view, draw)
