"""Which images are computed together, and which are written to one shard."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.extraction.reading import Item


@dataclass(frozen=True, slots=True)
class Window:
    """Neighbours that are computed together."""

    items: Sequence[Item]
    ends_shard: bool

    def __len__(self) -> int:
        return len(self.items)


def windows(items: Iterator[Item], size: int, options: ExtractionOptions) -> Iterator[Window]:
    """Windows of at most `size` images, none of them in two shards.

    A shard has at most `shard_bytes` of features (more only where one image has more) and `shard_images` images, so
    where it ends depends on nothing but the images themselves.
    """
    window: list[Item] = []
    held = images = 0
    for item in items:
        if images and (held + item.bytes > options.shard_bytes or images >= options.shard_images):
            yield Window(window, ends_shard=True)
            window, held, images = [], 0, 0
        elif len(window) == size:
            yield Window(window, ends_shard=False)
            window = []
        window.append(item)
        held, images = held + item.bytes, images + 1
    if window:
        yield Window(window, ends_shard=True)
