"""The parameters of a request for features, and how they are read from a query or from JSON."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal
from urllib.parse import parse_qsl

from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.contract.features import (
    DEFAULT_GEM_P,
    DEFAULT_ROI_SIZE,
    DType,
    Normalize,
    Orientation,
    Pool,
    Resize,
    RoiLevels,
)
from detco_core.contract.reader import read, require
from detco_core.inference.roi import Box
from detco_core.inference.selection import Selection

MAX_TIMEOUT_MS = 600_000

Priority = Literal["interactive", "bulk"]
"""Bulk is let in only when there is room to spare, and gives way first."""

_REMEMBERED = 256
"""Queries."""
_SHORT = 1024
"""Characters; a longer one has boxes in it, and is another for every image."""

BoxLists = tuple[tuple[Box, ...], ...]
"""The boxes of every image, in the order of the images."""


@dataclass(frozen=True, kw_only=True)
class FeatureOptions:
    """The parameters of a request; each has the same name in a query and in the `request` part."""

    model: str | None = None
    """`name@alias`, `name:version`, or `name` for its alias `production`."""
    expect_digest: str | None = None
    """Weights digest the caller relies on."""
    levels: tuple[str, ...] | None = None
    pool: Pool = "none"
    gem_p: float | None = None
    """Power of `gem`; None: 3."""
    dtype: DType = "float32"
    normalize: Normalize = "none"
    boxes: BoxLists | None = None
    """In pixels of each image after orientation; None: the whole maps."""
    roi_size: int | None = None
    """Side of a region's grid; None: 7."""
    roi_levels: RoiLevels | None = None
    """None: `each`."""
    resize: Resize | None = None
    """None: as the manifest says."""
    orientation: Orientation = "exif"
    timeout_ms: int = 30_000
    priority: Priority = "interactive"

    def __post_init__(self) -> None:
        require(1 <= self.timeout_ms <= MAX_TIMEOUT_MS, "timeout_ms", f"must be 1..{MAX_TIMEOUT_MS}")
        few = self.levels is None or len(self.levels) <= 32
        require(few, "levels", "names more levels than any model has")
        for key in ("roi_size", "roi_levels"):
            require(self.boxes is not None or getattr(self, key) is None, key, "says how boxes are taken: give boxes")
        require(self.pool == "gem" or self.gem_p is None, "gem_p", "is the power of pool=gem: ask for that")
        _ = self.selection

    @cached_property
    def selection(self) -> Selection:
        """What is asked of the network's levels."""
        return Selection(
            levels=self.levels,
            pool=self.pool,
            gem_p=DEFAULT_GEM_P if self.gem_p is None else self.gem_p,
            dtype=self.dtype,
            normalize=self.normalize,
            roi_size=DEFAULT_ROI_SIZE if self.roi_size is None else self.roi_size,
            roi_levels=self.roi_levels or "each",
        )


def read_options(document: object) -> FeatureOptions:
    """Read parsed JSON; raises `InvalidDocument` with every fault."""
    if isinstance(document, Mapping) and isinstance(boxes := document.get("boxes"), list) and not _is_nested(boxes):
        return _of_one_image({**document, "boxes": [boxes]})
    return read(FeatureOptions, document, "request")


def _of_one_image(document: object) -> FeatureOptions:
    """One image's boxes need no list around them; what is wrong with them is told as they were given."""
    try:
        return read(FeatureOptions, document, "request")
    except InvalidDocument as error:
        given = (replace(fault, path=re.sub(r"^boxes\[0\]", "boxes", fault.path)) for fault in error.faults)
        raise InvalidDocument(error.what, tuple(given)) from None


def read_query(query: str) -> FeatureOptions:
    """Read a query as it stands in the URL; raises `InvalidDocument` with every fault.

    Short ones are remembered: who asks for an image's features asks for the next one's in the same words.
    """
    return (_remembered if len(query) <= _SHORT else _options_of)(query)


def _options_of(query: str) -> FeatureOptions:
    return read_options(query_document(query))


_remembered = lru_cache(_REMEMBERED)(_options_of)


def _is_nested(boxes: list[object]) -> bool:
    """Whether these are lists of boxes, one an image, and not boxes: the first of anything that holds something."""
    inner = next((item[0] for item in boxes if isinstance(item, list) and item), None)
    return isinstance(inner, list) or (inner is None and len(boxes) > 0)


def query_document(query: str) -> dict[str, object]:
    """The parameters of a query as the JSON object they stand for: lists comma-separated, `boxes` and `resize` JSON."""
    document: dict[str, object] = {}
    faults = []
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key in document:
            faults.append(Fault(key, "is given twice"))
        try:
            document[key] = _QUERY.get(key, str)(text)
        except ValueError as error:
            faults.append(Fault(key, str(error)))
    if faults:
        raise InvalidDocument("query", tuple(faults))
    return document


def _levels(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _resize(text: str) -> object:
    return text if text == "none" else _json(text, '"none" or JSON, for example {"short_side": 800, "max_side": 1333}')


def _boxes(text: str) -> object:
    return _json(text, "JSON, for example [[10, 20, 110, 220]]")


def _json(text: str, expected: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"must be {expected}") from error


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(f"expected a whole number, got {text[:40]!r}")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"expected a number, got {text[:40]!r}") from error


_QUERY: dict[str, Callable[[str], object]] = {
    "levels": _levels,
    "boxes": _boxes,
    "gem_p": _number,
    "roi_size": _whole,
    "resize": _resize,
    "timeout_ms": _whole,
}
