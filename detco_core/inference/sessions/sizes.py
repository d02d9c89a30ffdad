"""Sizes of images that a model will mostly be asked for: what a GPU prepares itself for."""

from detco_core.contract.features import ResizeShortSide, resized
from detco_core.contract.manifest import InputSpec

Sides = tuple[int, int]
"""Height and width in pixels."""

USUAL: Sides = (224, 224)
_PHOTOS = ((4, 3), (3, 2), (3, 4), (2, 3))


def default_sizes(spec: InputSpec) -> list[Sides]:
    """What the manifest's resize makes of photos of 4:3 and 3:2, lying and standing; none where it keeps every image's
    size.
    """
    if spec.short_side is None:
        return []
    resize = ResizeShortSide(short_side=spec.short_side, max_side=spec.max_side)
    photos = [resized(1000 * width, 1000 * height, resize) for width, height in _PHOTOS]
    return list(dict.fromkeys((height, width) for width, height in photos))


def padded(size: Sides, spec: InputSpec) -> Sides:
    """A size as the network sees it: a multiple of what the manifest says."""
    height, width = (-(-side // spec.multiple) * spec.multiple for side in size)
    return height, width
