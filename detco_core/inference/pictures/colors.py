"""Brings a decoded picture to the colours a model takes, as training did, or says why that would change it."""

import numpy as np
from PIL import Image

from detco_core.contract.errors import ImageError
from detco_core.contract.manifest import InputSpec
from detco_core.inference.pictures.arrays import Planes
from detco_core.inference.pictures.images import DecodedImage
from detco_core.pixels.colors import DEEP_CMYK, gray_of
from detco_core.pixels.deep import sixteen_bits

_WITH_ALPHA = ("LA;16", "RGBA;16")


def in_colors_of(decoded: DecodedImage, spec: InputSpec) -> tuple[Image.Image | Planes, str | None]:
    """The picture in the model's colours, and the mode it was converted from if that is another.

    As in training: grey becomes RGB and RGB grey, palette and CMYK too where Pillow knows how, and alpha is dropped;
    a `raw` model has its channels as they are. Bits per channel are never changed.
    """
    _check_depth(decoded, spec)
    picture = decoded.picture
    own = None if decoded.mode != "I" else decoded.mode
    if spec.bit_depth == 16 and not isinstance(picture, tuple):
        picture = (Image.fromarray(sixteen_bits(picture)),)
    if spec.color == "raw":
        _check_channels(decoded, spec)
        return picture, own
    if not isinstance(picture, tuple):
        return _converted(picture, decoded, spec)
    planes = _planes_in(picture, decoded, spec)
    return planes, own if len(picture) == spec.channels else decoded.mode


def _converted(picture: Image.Image, decoded: DecodedImage, spec: InputSpec) -> tuple[Image.Image, str | None]:
    """By Pillow: 8 bits."""
    wanted = "RGB" if spec.color == "rgb" else "L"
    converted_from = None if decoded.mode == wanted else decoded.mode
    if picture.mode == wanted:
        return picture, converted_from
    # Alpha is dropped below; with this left in, Pillow warns about palettes.
    picture.info.pop("transparency", None)
    try:
        return picture.convert(wanted), converted_from
    except ValueError as error:
        raise ImageError(
            "channels", f"an image of mode {picture.mode} cannot become {wanted}; send {wanted}"
        ) from error


def _planes_in(planes: Planes, decoded: DecodedImage, spec: InputSpec) -> Planes:
    """The same of a plane a channel, as training does it: by name, and where the count is all there is, by that."""
    shown = planes[:-1] if decoded.colors in _WITH_ALPHA else planes
    if len(shown) == 1 and spec.channels == 3:
        shown *= 3
    elif len(shown) == 3 and spec.channels == 1:
        shown = (Image.fromarray(gray_of(np.stack([np.asarray(plane) for plane in shown], axis=2))),)
    if len(shown) != spec.channels:
        _check_channels(decoded, spec)
    return shown


def _check_channels(decoded: DecodedImage, spec: InputSpec) -> None:
    """Where nothing is converted."""
    if decoded.mode == "CMYK;16" and spec.color != "raw":
        raise ImageError("channels", DEEP_CMYK)
    if decoded.channels != spec.channels or decoded.mode in ("P", "1"):
        message = f"the model takes {spec.channels} channels as they are, the image has {decoded.mode}"
        raise ImageError("channels", message)


def _check_depth(decoded: DecodedImage, spec: InputSpec) -> None:
    picture, bits, wanted = decoded.picture, decoded.bits, spec.bit_depth
    whole = isinstance(picture, tuple) or picture.mode.startswith("I")
    if bits == wanted and (bits == 8 or whole):
        return
    if wanted == 16 and not isinstance(picture, tuple) and picture.mode == "I":
        # Its range is looked at when it is read.
        return
    if bits == wanted:
        message = (
            "only 8 of the image's 16 bits per channel can be had here: send the file's bytes or path, as a PNG or "
            "TIFF of grey, RGB or either with alpha, or an array"
        )
        raise ImageError("bit_depth", message)
    remedy = "which part of the range matters is yours to say; "
    if (bits, wanted) == (8, 16):
        remedy = "how they fill its range is yours to say (training has an 8-bit file's values times 257); "
    raise ImageError(
        "bit_depth",
        f"the image has {bits} bits per channel and the model takes {wanted}: {remedy}"
        f"convert it to {wanted} bits before sending, as the training images were",
    )
