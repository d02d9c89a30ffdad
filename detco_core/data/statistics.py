"""Mean, standard deviation and depth of a data set's pixels, on a fixed sample of its images."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.config import RunConfig, ViewsConfig
from detco_core.contract.datasets import ChannelStatistics, DatasetRef, fits_channels
from detco_core.contract.errors import DataError
from detco_core.data.channels import decode
from detco_core.data.file_table import FileTable
from detco_core.data.images import ImageFiles
from detco_core.data.opening import quiet
from detco_core.data.sources import Source

SAMPLE = 1000
"""Images measured, spread evenly over the list; all of a smaller data set."""
SIDE = 128
"""They are measured at a reduced scale, down to this short side: near the scale of the views, and cheap."""
MAX_THREADS = 16
CHANNELS = 3
"""Column of `FileTable.facts`."""

Moments = NDArray[np.float64]
"""[2, C]: mean of the values and of their squares, of values in 0..1."""


def resolve_statistics(config: RunConfig, ref: DatasetRef, files: ImageFiles) -> RunConfig:
    """`config` with its views as `resolve_views` gives them; raises what that raises."""
    return replace(config, views=resolve_views(config.views, ref, files))


def resolve_views(views: ViewsConfig, ref: DatasetRef, files: ImageFiles) -> ViewsConfig:
    """`views` with `mean` and `std` set where they depend on the data.

    They do unless they are given or there are three channels (ImageNet's). Taken from the scan when it measured every
    image as it is seen here, else measured here, by the same rule, so that the numbers are the same.

    Raises:
        DataError: images of the data set do not have the channels asked for, or none can be read.
    """
    check_channels(files, views)
    if views.mean is not None or views.channels == 3:
        return views
    found = ref.statistics.get(str(views.channels))
    if found is None or found.images != len(files):
        found = measure(files.source, files.table, np.arange(len(files)), views)
    return replace(views, mean=found.mean, std=found.std)


def check_channels(files: ImageFiles, views: ViewsConfig) -> None:
    """Raise `DataError` when a scanned data set holds images that cannot be brought to `views.channels`."""
    stored = files.table.facts[:, CHANNELS]
    counts, numbers = np.unique(stored, return_counts=True)
    other = [count for count in counts.tolist() if not fits_channels(count, views.channels)]
    if other:
        there = ", ".join(f"{number} of {count}" for count, number in zip(counts, numbers, strict=True))
        example = files.table.path(int(np.flatnonzero(np.isin(stored, other))[0]))
        raise DataError(
            f"{files.name} holds images of other than {views.channels} channels ({there}; e.g. {example}): set "
            "views.channels of the run, name the channels that the weights are for, or scan the data set again without "
            "them (exclude)"
        )


def scan_statistics(source: Source, table: FileTable, deep: frozenset[int]) -> dict[str, ChannelStatistics]:
    """Of a scanned table, by channel count; `deep` holds the counts of which some image is stored with 16 bits."""
    stored = table.facts[:, CHANNELS]
    found: dict[str, ChannelStatistics] = {}
    for channels in np.unique(stored).tolist():
        bit_depth: Literal[8, 16] = 16 if channels in deep else 8
        views = ViewsConfig(channels=channels, bit_depth=bit_depth)
        try:
            found[str(channels)] = measure(source, table, np.flatnonzero(stored == channels), views)
        except DataError:
            # Readable, but not so: a run gets the reason when it asks for it.
            continue
    return found


def measure(source: Source, table: FileTable, places: NDArray[np.int64], views: ViewsConfig) -> ChannelStatistics:
    """Measure the images at `places`, a fixed sample of them, as a run with `views` sees them.

    Each image counts the same, whatever its size. Rounded to six digits; a channel that never changes has the standard
    deviation of one grey level. Images that cannot be read are passed over.

    Raises:
        DataError: none can be read; with the reason of the last one.
    """
    chosen = places[np.unique(np.linspace(0, len(places) - 1, min(SAMPLE, len(places))).round().astype(np.int64))]
    moments = _mean(_each(source, table, chosen.tolist(), views))
    mean, spread = moments[0], np.sqrt(np.maximum(moments[1] - moments[0] ** 2, 0))
    return ChannelStatistics(
        images=len(places),
        mean=tuple(round(float(value), 6) for value in mean),
        std=tuple(round(max(float(value), 1 / 255), 6) for value in spread),
        bit_depth=views.bit_depth,
    )


def _each(source: Source, table: FileTable, places: Sequence[int], views: ViewsConfig) -> Iterator[Moments | DataError]:
    """Of each image, in order; in threads, since Pillow and NumPy work without the GIL."""

    def one(place: int) -> Moments | DataError:
        try:
            return moments_of(np.asarray(decode(source.open(table.member(place)), SIDE, views)))
        except DataError as error:
            return DataError(f"{table.path(place)}: {error}")

    with quiet(), ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1), thread_name_prefix="measure") as pool:
        yield from pool.map(one, places)


def moments_of(pixels: NDArray[np.generic]) -> Moments:
    """Of one image [H, W, C] of uint8 or uint16."""
    values = pixels.astype(np.float64).reshape(-1, pixels.shape[2]) / np.iinfo(pixels.dtype).max  # type: ignore[type-var]  # uint8, uint16
    return np.stack([values.mean(0), (values * values).mean(0)])


def _mean(found: Iterable[Moments | DataError]) -> Moments:
    total, count, last = None, 0, DataError("there are no images")
    for item in found:
        if isinstance(item, DataError):
            last = item
        else:
            total, count = item if total is None else total + item, count + 1
    if total is None:
        raise DataError(f"no image could be measured; {last}") from last
    return total / count
