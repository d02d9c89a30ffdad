"""Turns decoded pixels into the network's input, exactly as the manifest says, and keeps the geometry to map back.

Shapes: C channels, H x W the network's input in pixels, padding included.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detco_core.contract.errors import ImageError
from detco_core.contract.features import Resize, ResizeShortSide
from detco_core.contract.features import resized as to_size
from detco_core.contract.manifest import InputSpec
from detco_core.inference.pictures.arrays import Planes
from detco_core.inference.pictures.colors import in_colors_of
from detco_core.inference.pictures.images import DecodedImage, Size

MAX_NETWORK_PIXELS = 4096 * 2048
"""Default bound on H x W: the maps of a ResNet-50 at this size are 1 GB."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """How pixels of the image relate to pixels of the network's input; padding is at right and bottom only."""

    stored: Size
    """As in the file."""
    oriented: Size
    """As used: the frame boxes are given in."""
    resized: Size
    """Network input without padding."""
    network: Size

    @property
    def scale(self) -> tuple[float, float]:
        """Network pixels per oriented pixel, along x and y."""
        return self.resized.width / self.oriented.width, self.resized.height / self.oriented.height

    @property
    def padding(self) -> tuple[int, int]:
        """Pixels added at the right and at the bottom."""
        return self.network.width - self.resized.width, self.network.height - self.resized.height

    def to_network(self, x: float, y: float) -> tuple[float, float]:
        """A point of the oriented image in network pixels; pixel (0, 0) spans 0..1 on both sides."""
        return x * self.scale[0], y * self.scale[1]

    def to_image(self, x: float, y: float) -> tuple[float, float]:
        """A point of the network's input in pixels of the oriented image."""
        return x / self.scale[0], y / self.scale[1]

    def cells(self, stride: int) -> Size:
        """Width and height of the part of a level's map that padding did not make."""
        return Size(-(-self.resized.width // stride), -(-self.resized.height // stride))


@dataclass(frozen=True, slots=True)
class Prepared:
    """One image ready for the network."""

    array: NDArray[np.float32]
    """`[1, C, H, W]`"""
    geometry: Geometry
    converted_from: str | None
    """Colour mode of the file when it is not the model's own: `L`, `P`, `CMYK`, `RGBA`, ..."""


def prepare(
    decoded: DecodedImage, spec: InputSpec, resize: Resize | None = None, max_pixels: int = MAX_NETWORK_PIXELS
) -> Prepared:
    """Bring one image to the network's input: colour, resize (None: the manifest's), normalise, pad.

    Raises:
        ImageError: `channels` or `bit_depth` when the model cannot take the image without changing what it means;
            `too_large` when the network's input would exceed `max_pixels`.
    """
    picture, converted_from = in_colors_of(decoded, spec)
    geometry = plan(decoded, spec, resize)
    _check_size(geometry, max_pixels)
    return Prepared(_input(_resized(picture, geometry.resized), spec, geometry), geometry, converted_from)


def prepare_pixels(pixels: NDArray[Any], spec: InputSpec, max_pixels: int = MAX_NETWORK_PIXELS) -> Prepared:
    """Bring pixel values `[C, H, W]`, of any real type and the range of the model's depth, to the network's input:
    normalise and pad, nothing else.

    Raises:
        ImageError: `channels`, or `too_large` as `prepare`.
    """
    if len(pixels) != spec.channels:
        raise ImageError("channels", f"the model takes {spec.channels} channels, the pixels have {len(pixels)}")
    size = Size(pixels.shape[2], pixels.shape[1])
    geometry = Geometry(size, size, size, _padded(size, spec))
    _check_size(geometry, max_pixels)
    return Prepared(_input(list(pixels), spec, geometry), geometry, None)


def plan(decoded: DecodedImage, spec: InputSpec, resize: Resize | None = None) -> Geometry:
    """The sizes an image will have, without touching its pixels."""
    if resize is None:
        resize = (
            "none" if spec.short_side is None else ResizeShortSide(short_side=spec.short_side, max_side=spec.max_side)
        )
    resized = Size(*to_size(*decoded.size, resize))
    return Geometry(decoded.stored, decoded.size, resized, _padded(resized, spec))


def _padded(size: Size, spec: InputSpec) -> Size:
    multiple = spec.multiple
    return Size(-(-size.width // multiple) * multiple, -(-size.height // multiple) * multiple)


def _check_size(geometry: Geometry, max_pixels: int) -> None:
    width, height = geometry.network
    if width * height > max_pixels:
        raise ImageError(
            "too_large",
            f"the network's input would be {width}x{height}; at most {max_pixels} pixels are computed: ask for a "
            'smaller size, for example resize={"short_side": 800, "max_side": 1333}',
        )


def _input(planes: list[NDArray[np.generic]], spec: InputSpec, geometry: Geometry) -> NDArray[np.float32]:
    """`[1, C, H, W]` of one plane a channel, padding included."""
    width, height = geometry.resized
    make = np.empty if geometry.network == geometry.resized else np.zeros
    array = make((1, spec.channels, geometry.network.height, geometry.network.width), np.float32)
    _normalise(planes, spec, array[0, :, :height, :width])
    return array


def _resized(picture: Image.Image | Planes, size: Size) -> list[NDArray[np.generic]]:
    """One `[h, w]` plane a channel, antialiased bilinear."""
    if isinstance(picture, tuple):
        return [plane for band in picture for plane in _resized(band, size)]
    if picture.size != size and picture.mode not in ("L", "RGB"):
        # Plane by plane: Pillow would weigh the colours of RGBA by its fourth channel.
        return [np.asarray(band.resize(size, Image.Resampling.BILINEAR)) for band in picture.split()]
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(picture)
    return [pixels] if pixels.ndim == 2 else [pixels[..., channel] for channel in range(pixels.shape[2])]


def _normalise(planes: list[NDArray[np.generic]], spec: InputSpec, out: NDArray[np.float32]) -> None:
    """(value / full - mean) / std into `out` `[C, h, w]`.

    A channel at a time into memory that is there already is five times faster than the one-line expression.
    """
    full = 2**spec.bit_depth - 1
    for plane, mean, std, target in zip(planes, spec.mean, spec.std, out, strict=True):
        np.multiply(plane, np.float32(1 / (full * std)), out=target, dtype=np.float32)
        target -= np.float32(mean / std)
