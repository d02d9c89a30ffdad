"""The features of images that were read, in order: each by itself on a CPU, in batches of one size on a GPU."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.errors import OutOfMemory
from detco_core.contract.extractions.files import ASSIGNED, Entry, EntryError
from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.contract.features import DEFAULT_GEM_P, DEFAULT_ROI_SIZE
from detco_core.contract.manifest import Manifest
from detco_core.contract.remedies import for_less_memory
from detco_core.contract.shortage import is_out_of_memory
from detco_core.extraction.crew import Crew
from detco_core.extraction.lanes import Lanes
from detco_core.extraction.reading import Item, Ready
from detco_core.extraction.windows import Window
from detco_core.inference.outputs import Finished, finish
from detco_core.inference.selection import Selection
from detco_core.inference.sessions.binding import Maps
from detco_core.inference.sessions.execution import CPU
from detco_core.inference.sessions.session import Session

_WINDOW = 4
"""Batches' worth of neighbours among which images of one size are sought."""


class Computed(NamedTuple):
    """One image as it goes to a shard, but for its place there."""

    entry: Entry
    features: list[Finished]
    """By level; empty where the image is broken."""


class ComputedWindow(NamedTuple):
    """Neighbours that were computed together."""

    window: Window
    images: list[Computed]


def selection_of(options: ExtractionOptions) -> Selection:
    """The same as the inference package asks it."""
    return Selection(
        levels=options.levels,
        pool=options.pool,
        gem_p=options.gem_p or DEFAULT_GEM_P,
        normalize=options.normalize,
        dtype=options.dtype,
        roi_size=options.roi_size or DEFAULT_ROI_SIZE,
        roi_levels=options.roi_levels or "each",
    )


@dataclass(frozen=True, slots=True)
class Computer:
    """A backbone and what is asked of it. Several threads may compute."""

    session: Session
    lanes: Lanes
    selection: Selection
    batch_size: int

    @property
    def window(self) -> int:
        """How many images are looked at together; batches never reach over its end, nor that of a shard."""
        return 1 if self.session.provider == CPU else _WINDOW * self.batch_size

    def crew(self) -> Crew[Window, ComputedWindow]:
        """Threads that compute windows."""
        threads = self.lanes.count
        return Crew(self._through, threads, threads, "lane")

    def _through(self, window: Window) -> ComputedWindow:
        return ComputedWindow(window, self.compute(window.items))

    def compute(self, items: Sequence[Item]) -> list[Computed]:
        """Of at most `window` images."""
        found: dict[int, list[Finished]] = {}
        for batch in self._batches(items):
            found.update(self._run(batch))
        return [_computed(item, found.get(number, [])) for number, item in enumerate(items)]

    def _batches(self, items: Sequence[Item]) -> Iterator[list[tuple[int, Ready]]]:
        """Images of one shape that need the same outputs, with their places."""
        alike: dict[tuple[tuple[int, ...], tuple[str, ...]], list[tuple[int, Ready]]] = {}
        for number, item in enumerate(items):
            if isinstance(item.found, Ready):
                key = (item.found.prepared.array.shape, item.found.outputs)
                alike.setdefault(key, []).append((number, item.found))
        for images in alike.values():
            for start in range(0, len(images), self.batch_size):
                yield images[start : start + self.batch_size]

    def _run(self, batch: list[tuple[int, Ready]]) -> Iterator[tuple[int, list[Finished]]]:
        maps = self._maps([ready.prepared.array for _, ready in batch], batch[0][1].outputs)
        manifest = self.session.manifest
        for place, (number, ready) in enumerate(batch):
            own = {name: feature[place : place + 1] for name, feature in maps.items()}
            yield number, finish(self.selection, manifest, ready.prepared.geometry, own, ready.regions)

    def _maps(self, images: list[NDArray[np.float32]], outputs: tuple[str, ...]) -> Maps:
        """Of images of one shape; raises `OutOfMemory` naming it."""
        try:
            return self.lanes.compute(images, outputs)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            *_, height, width = images[0].shape
            what = f"{len(images)} image{'s' * (len(images) > 1)} of {width}x{height} at once"
            found = (
                f"out of memory: {self.session.manifest.architecture} on {self.session.provider} cannot compute {what}"
            )
            raise OutOfMemory(f"{found} ({str(error).strip()}); {for_less_memory('extract')}") from error


def names_of(selection: Selection, manifest: Manifest, *, regions: bool) -> tuple[str, ...]:
    """Names of the tensors that come out."""
    if regions and selection.roi_levels == "assign":
        return (ASSIGNED,)
    return tuple(level.name for level in selection.levels_of(manifest))


def _computed(item: Item, features: list[Finished]) -> Computed:
    file, found = item.file, item.found
    if not isinstance(found, Ready):
        error = EntryError(code=found.code, message=str(found))
        return Computed(Entry(image=file.path, label=file.label, split=file.split, error=error), [])
    geometry = found.prepared.geometry
    entry = Entry(
        image=file.path,
        label=file.label,
        split=file.split,
        rows=1 if found.regions is None else len(found.regions),
        stored=geometry.stored,
        oriented=geometry.oriented,
        resized=geometry.resized,
        network=geometry.network,
        converted_from=found.prepared.converted_from,
        scales={one.level: one.cast.scale for one in features if one.cast.scale is not None},
        overflow={one.level: one.cast.overflow for one in features if one.cast.overflow},
        levels=features[0].levels,
        clipped=() if found.regions is None else found.regions.clipped,
    )
    return Computed(entry, features)
