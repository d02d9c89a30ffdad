"""What is asked of `Backbone.features` beside images and boxes: read as strictly as a request to the service is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np

from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.contract.features import DType, Normalize, Orientation, Pool, Resize, RoiLevels
from detco_core.contract.reader import plain, read
from detco_core.inference.selection import Selection

_WHAT = "what is asked of features"
_OF_BOXES = {"roi_size", "roi_levels"}


class Wishes(TypedDict, total=False):
    """What may be asked of `features` beside images, levels and boxes."""

    pool: Pool
    """`avg` or `gem` for one vector an image (or region) and level."""
    gem_p: float
    """Power of `gem`; 3 when not given."""
    dtype: DType
    """Of the result; values over 65504 become infinite in float16, int8 has a scale."""
    normalize: Normalize
    """`l2` for vectors of length 1."""
    roi_size: int
    """Side of a region's grid."""
    roi_levels: RoiLevels
    """`assign`: each region from the level its size asks for, as in an FPN."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """How the pixels of an image are brought to the network."""

    resize: Resize | None = None
    """None: as the manifest says."""
    orientation: Orientation = "exif"


def read_look(resize: object, orientation: object) -> Look:
    """`resize` may be a mapping of its fields; raises `InvalidDocument`."""
    return read(Look, {"resize": plain(resize), "orientation": orientation}, _WHAT)


def read_selection(levels: Sequence[str] | None, wishes: Mapping[str, Any], *, has_boxes: bool) -> Selection:
    """Levels are a list of names, or names between commas, as in a query.

    Raises:
        InvalidDocument: a word that is not known, or one that means nothing beside the others.
    """
    names = [name.strip() for name in levels.split(",")] if isinstance(levels, str) else levels
    given = {key: value.item() if isinstance(value, np.generic) else value for key, value in wishes.items()}
    faults = [] if has_boxes else [Fault(key, "says how boxes are taken: give boxes") for key in _OF_BOXES & set(given)]
    if "gem_p" in given and given.get("pool") != "gem":
        faults.append(Fault("gem_p", "is the power of pool=gem: ask for that"))
    if faults:
        raise InvalidDocument(_WHAT, tuple(faults))
    return read(Selection, given | {"levels": None if names is None else list(names)}, _WHAT)
