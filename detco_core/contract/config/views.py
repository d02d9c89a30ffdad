"""The four views of an image: crops, patches, colours (paper section 3; reference recipe MoCo v2)."""

import math
from dataclasses import dataclass
from typing import Literal

from detco_core.contract.reader import require

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MAX_CHANNELS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewsConfig:
    """The four transforms T1..T4 (paper section 3; reference recipe MoCo v2 for the global views)."""

    global_size: int = 224
    """Side of the two global views, in pixels."""
    global_scale: tuple[float, float] = (0.2, 1.0)
    """Share of the image area a global crop takes."""
    local_size: int = 255
    """Side of the region the patches are cut from, in pixels; a multiple of `grid`."""
    local_scale: tuple[float, float] = (0.6, 1.0)
    """Share of the image area the local region takes."""
    grid: int = 3
    """The region is cut into grid x grid cells, one patch each."""
    patch_size: int = 64
    """Side of a patch, cut at random inside its cell, in pixels."""
    flip: float = 0.5
    """Probability of a horizontal flip."""
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    """Strength of brightness, contrast, saturation and hue jitter."""
    jitter_probability: float = 0.8
    """Probability of color jitter."""
    grayscale_probability: float = 0.2
    """Probability of a view without color."""
    blur_probability: float = 0.5
    """Probability of a Gaussian blur."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Range of the Gaussian blur's standard deviation, in pixels of the view."""
    patch_colors: Literal["region", "patch"] = "region"
    """Flip, jitter, grey and blur are drawn once for the region and shared by its patches, or anew for each patch."""
    augment: Literal["none", "rand_augment", "auto_augment"] = "none"
    """A policy for the global views only, after crop and flip (the "AA" variant): RandAugment, or AutoAugment's policy
    for ImageNet."""
    rand_augment_ops: int = 2
    """RandAugment operations a view."""
    rand_augment_magnitude: int = 10
    """On the usual scale of 0 to 30."""
    channels: int = 3
    """Channels of the images: 3 is RGB, 1 is grey, other counts are taken as they are stored. Other than 3: no colour
    jitter (brightness and contrast neither), no grey."""
    bit_depth: Literal[8, 16] = 8
    """Bits of a channel; 16 keeps the low byte of 16-bit files, and carries views as floats, four times the memory."""
    mean: tuple[float, ...] | None = None
    """Per channel, of values in 0..1; None: ImageNet's for 3 channels, else as the scan measured them."""
    std: tuple[float, ...] | None = None
    """Per channel, of values in 0..1; None as for `mean`."""

    def __post_init__(self) -> None:
        require(self.global_size >= 32, "global_size", "must be at least 32")
        require(self.patch_size >= 16, "patch_size", "must be at least 16")
        require(self.grid >= 1, "grid", "must be at least 1")
        require(self.local_size % self.grid == 0, "local_size", f"must be a multiple of grid ({self.grid})")
        cell = self.local_size // self.grid
        require(cell >= self.patch_size, "patch_size", f"must fit a cell of {cell} pixels (local_size / grid)")
        for name in ("flip", "jitter_probability", "grayscale_probability", "blur_probability"):
            require(0.0 <= getattr(self, name) <= 1.0, name, "must be a probability between 0 and 1")
        for name in ("global_scale", "local_scale"):
            low, high = getattr(self, name)
            require(0.0 < low <= high <= 1.0, name, "must be two shares of the area, 0 < low <= high <= 1")
        self._check_blur()
        require(all(v >= 0 for v in self.jitter) and self.jitter[3] <= 0.5, "jitter", "must be >= 0, hue at most 0.5")
        require(1 <= self.rand_augment_ops <= 8, "rand_augment_ops", "must be between 1 and 8")
        require(0 <= self.rand_augment_magnitude <= 30, "rand_augment_magnitude", "must be between 0 and 30")
        self._check_channels()

    def _check_blur(self) -> None:
        low, high = self.blur_sigma
        require(0.0 < low <= high, "blur_sigma", "must be 0 < low <= high")
        # The kernel reaches 3 sigma, and borders are mirrored: it must end inside what it blurs.
        blurred = self.patch_size if self.patch_colors == "patch" else self.local_size
        side = min(self.global_size, blurred)
        require(math.ceil(3 * high) < side, "blur_sigma", f"must be below {side / 3:.4g} for views of {side} pixels")

    def _check_channels(self) -> None:
        require(1 <= self.channels <= MAX_CHANNELS, "channels", f"must be between 1 and {MAX_CHANNELS}")
        require((self.mean is None) == (self.std is None), "std", "set mean and std together")
        for name in ("mean", "std"):
            values = getattr(self, name)
            fits = values is None or len(values) == self.channels
            require(fits, name, f"needs one value for each of the {self.channels} channels")
        require(self.std is None or all(v > 0 for v in self.std), "std", "must be positive")
        rgb = self.channels == 3 and self.bit_depth == 8
        require(rgb or self.augment == "none", "augment", "needs 8-bit RGB images (channels 3, bit_depth 8)")

    @property
    def patches(self) -> int:
        """Patches in one local view."""
        return self.grid * self.grid

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation, once they are known.

        Raises:
            FieldError: they depend on a scan (`mean` is None and there are not 3 channels).
        """
        if self.mean is not None and self.std is not None:
            return self.mean, self.std
        require(self.channels == 3, "mean", f"is not known for {self.channels} channels: set mean and std, or scan")
        return IMAGENET_MEAN, IMAGENET_STD
