"""What is asked of the feature engine and what it answers."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from detco_core.inference.numbers import Cast
from detco_core.inference.pictures.preprocess import Geometry
from detco_core.inference.roi import Regions
from detco_core.inference.selection import Selection
from server.features.allowances import Caller
from server.features.options import FeatureOptions
from server.features.reply_memory import ReplyBytes, Reservation
from server.features.waiting import Shared


@dataclass(frozen=True, slots=True)
class ImagePart:
    """One image of a request, and the file name it came with."""

    data: bytes | NDArray[Any]
    """An encoded image, or pixel values `[C, H, W]` of the size the network takes."""
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """What the form in which an answer leaves means for its memory."""

    max_values: int | None = None
    """Bound on the values of the whole answer, where the format has one."""
    bytes_per_value: int = 0
    """That a value takes at most while the answer is laid out, beside the tensors; 0: nothing is copied."""


@dataclass(frozen=True)
class FeatureRequest:
    """Everything the engine needs to know."""

    images: tuple[ImagePart, ...]
    options: FeatureOptions
    format: Format = Format()
    only_models: Collection[str] | None = None
    """Names the caller's token is limited to; None: all."""
    caller: Caller | None = None
    """Whose bounds it counts against; None: nobody's."""
    pooled: bool = False
    """Also the last level's mean, as the output `pooled`."""
    maps: bool = True
    """Whether the levels are wanted; without them only `pooled` is."""

    @cached_property
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
    """Of onnxruntime, as really obtained."""
    precision: str = "fp32"
    """That it computes in: `fp32`, `tf32`, `fp16`."""


@dataclass(slots=True)
class Timings:
    """Seconds by stage."""

    decode: float = 0.0
    """Decode, resize and normalise."""
    queue: float = 0.0
    """Waiting for a decoder and for the model."""
    compute: float = 0.0
    """The image's share of its batch."""
    encode: float = 0.0
    """Pool, normalise and cast."""
    moments: list[tuple[str, float, float]] = field(default_factory=list)
    """Stage, and when it began and ended by `time.monotonic`; `queue` twice, before decoding and before compute."""
    batch: Shared | None = None
    """That the image was computed in together with others, perhaps of other requests."""


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
    memory: Reservation = field(default_factory=lambda: Reservation(ReplyBytes(0)))
    """What is counted for it until it is sent."""

    @property
    def release(self) -> Callable[[], None]:
        """Gives its memory back, and does not keep the reply itself."""
        return self.memory.release

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
