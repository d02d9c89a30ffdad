"""What is asked of the feature engine and what it answers, and how a request's parameters are read."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from numpy.typing import NDArray

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
from detco_core.inference.numbers import Cast
from detco_core.inference.outputs import Selection
from detco_core.inference.preprocess import Geometry
from detco_core.inference.roi import Box, Regions
from server.features.allowances import Caller

MAX_TIMEOUT_MS = 600_000

Priority = Literal["interactive", "bulk"]
"""Bulk is let in only when there is room to spare, and gives way first."""

BoxLists = tuple[tuple[Box, ...], ...]
"""The boxes of every image, in the order of the images."""


@dataclass(frozen=True, kw_only=True, slots=True)
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

    @property
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
        # One image's boxes need no list around them.
        document = {**document, "boxes": [boxes]}
    return read(FeatureOptions, document, "request")


def _is_nested(boxes: list[object]) -> bool:
    """Whether these are lists of boxes, one an image, and not boxes: the first of anything that holds something."""
    inner = next((item[0] for item in boxes if isinstance(item, list) and item), None)
    return isinstance(inner, list) or (inner is None and len(boxes) > 0)


def query_document(items: Iterable[tuple[str, str]]) -> dict[str, object]:
    """The parameters of a query as the JSON object they stand for: lists comma-separated, `boxes` and `resize` JSON."""
    document: dict[str, object] = {}
    faults = []
    for key, text in items:
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


@dataclass(frozen=True, slots=True)
class ImagePart:
    """One image of a request, and the file name it came with."""

    data: bytes | NDArray[Any]
    """An encoded image, or pixel values `[C, H, W]` of the size the network takes."""
    name: str | None = None


@dataclass(frozen=True, slots=True)
class FeatureRequest:
    """Everything the engine needs to know."""

    images: tuple[ImagePart, ...]
    options: FeatureOptions
    max_values: int | None = None
    """Bound on the values of the whole answer, where the format has one."""
    only_models: Collection[str] | None = None
    """Names the caller's token is limited to; None: all."""
    caller: Caller | None = None
    """Whose bounds it counts against; None: nobody's."""
    pooled: bool = False
    """Also the last level's mean, as the output `pooled`."""
    maps: bool = True
    """Whether the levels are wanted; without them only `pooled` is."""

    @property
    def selection(self) -> Selection:
        """What is asked of the network's levels."""
        selection = self.options.selection
        levels = selection.levels if self.maps else ()
        return replace(selection, levels=levels, pooled=self.pooled) if self.pooled else selection


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which weights answered, and on what."""

    model: str
    version: int
    digest: str
    """Of the weights."""
    provider: str
    precision: str = "fp32"
    """That it computes in: `fp32`, `tf32`, `fp16`."""
    """Of onnxruntime, as really obtained."""


@dataclass(slots=True)
class Timings:
    """Seconds by stage."""

    decode: float = 0.0
    """Decode, resize and normalise."""
    queue: float = 0.0
    """Waiting for a decoder and for the model."""
    compute: float = 0.0
    encode: float = 0.0
    """Pool, normalise and cast."""
    moments: list[tuple[str, float, float]] = field(default_factory=list)
    """Stage, and when it began and ended by `time.monotonic`; `queue` twice, before decoding and before compute."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What was done with one image."""

    format: str
    orientation: int
    geometry: Geometry
    converted_from: str | None
    animated: bool
    regions: Regions | None = None
    """Where boxes were given."""
    provider: str = ""
    """Of onnxruntime, that computed it: another than the model's where TensorRT has no engine for the size."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One level of one image, or the regions of one image."""

    image: int
    level: str
    """`assigned` for regions of several levels."""
    stride: int | None
    array: NDArray[Any]
    cast: Cast
    levels: tuple[str, ...] = ()
    """Of `assigned`: each region's level."""


@dataclass(frozen=True, slots=True)
class ImageReply:
    """One image's answer: facts and tensors, or an error."""

    index: int
    name: str | None
    timings: Timings
    facts: ImageFacts | None = None
    tensors: tuple[Tensor, ...] = ()
    error: Exception | None = None
    cached: bool = False
    """Remembered, not computed."""


@dataclass(frozen=True, slots=True)
class FeatureReply:
    """The whole answer; call `release` when it has been sent."""

    model: ModelIdentity
    images: tuple[ImageReply, ...]
    total: float
    """Seconds from arrival to here."""
    release: Callable[[], None] = field(default=lambda: None)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors, by image, then by level as asked."""
        return tuple(tensor for image in self.images for tensor in image.tensors)

    @property
    def cached(self) -> int:
        """How many images' answers were remembered, not computed."""
        return sum(image.cached for image in self.images)

    @property
    def timings(self) -> Timings:
        """Summed over the images."""
        stages = ("decode", "queue", "compute", "encode")
        return Timings(*(sum(getattr(image.timings, stage) for image in self.images) for stage in stages))
