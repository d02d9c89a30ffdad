"""What a person should know about a config and a data set before they meet: said by the trainer and by the dry run."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from detco_core.contract.config import RunConfig, ViewsConfig

PAPER_QUEUE = 65_536
SMALL_QUEUE, SMALL_DATA = 32_768, 200_000
"""No queue above the first is recommended for data sets up to the second."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """A warning; `code` is a stable word, as in a `warning` event."""

    code: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)


def advice(config: RunConfig, images: int | None) -> tuple[Advice, ...]:
    """Every warning about `config` on a data set of `images` (None: not counted yet)."""
    return (*_queue(config, images), *views_without_color(config.views))


def recommended_queue_size(images: int, batch_size: int = 1) -> int:
    """The queue for a data set of `images`: the largest power of two within half of it, so 25 to 50 % of the images.

    Of 32,768 at most up to 200,000 images (16 % there), then the paper's 65,536. Rounded down to a multiple of
    `batch_size`, and never below one batch. A longer queue turns an image's own older keys into negatives
    (facebookresearch/moco issues 9 and 146); lightly-train ships such a table for the same reason.
    """
    half = max(1, images // 2)
    most = SMALL_QUEUE if images <= SMALL_DATA else PAPER_QUEUE
    queue = min(most, 1 << (half.bit_length() - 1))
    return max(batch_size, queue - queue % batch_size)


def _queue(config: RunConfig, images: int | None) -> Iterator[Advice]:
    queue = config.method.queue_size
    if images is None or queue <= images:
        return
    recommended = recommended_queue_size(images, config.train.batch_size)
    message = (
        f"the queue ({queue}) is longer than the data set ({images} images): an image's own keys of earlier epochs are "
        f"among its negatives; lower method.queue_size, recommended is {recommended}"
    )
    details = {"queue_size": queue, "images": images, "recommended": recommended}
    yield Advice(code="queue_exceeds_dataset", message=message, details=details)


def views_without_color(views: ViewsConfig) -> tuple[Advice, ...]:
    """A warning when the config asks for colour jitter or grey, and its images have no three colours to change."""
    jitter = views.jitter_probability > 0 and any(views.jitter)
    if views.channels == 3 or not (jitter or views.grayscale_probability > 0):
        return ()
    images = "images of 1 channel" if views.channels == 1 else f"images of {views.channels} channels"
    message = (
        f"{images} have no colours to change: colour jitter (brightness and contrast too) and grey are off; crops, "
        "flips and blur remain. Set views.jitter_probability and views.grayscale_probability to 0 to say that this is "
        "meant"
    )
    return (Advice(code="views_without_color", message=message, details={"channels": views.channels}),)
