"""Whether files are still as the scan of their data set saw them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from detco_core.contract.datasets import DatasetRef
from detco_core.contract.events import Warned
from detco_core.data.images import ImageFiles
from detco_core.data.objects import is_remote

SAMPLE = 1000
"""Files looked at, spread evenly over the list; all of a smaller data set."""
NAMED_FILES = 100
"""Files named in a warning."""
COARSE_SECONDS = 2.0
"""Times of change may be coarser than the clock, by this much on the worst of disks."""


def changed_files(files: ImageFiles, ref: DatasetRef) -> Warned | None:
    """A warning when files of a sample are gone, have other sizes, or were written to or replaced since the scan; None
    when not, and for a root that was not scanned, or cannot change.

    As git, by the time of the last change to a file or what is known of it: a copy that keeps the time of writing
    (`rsync -a`, `mv`) has a new one. So has a file of another owner, which is as it was: hence no more than a warning.

    Every file is held against the size that the scan saw once more when it is read.
    """
    if ref.scanned_at is None or is_remote(ref.root):  # an object's time of change is looked at when it is read
        return None
    places = np.unique(np.linspace(0, len(files) - 1, min(SAMPLE, len(files))).round().astype(np.int64))
    changed = list(_changed(files, places.tolist(), ref.scanned_at + COARSE_SECONDS))
    if not changed:
        return None
    message = (
        f"{len(changed)} of {len(places)} files looked at changed since {ref.name} was scanned, e.g. {changed[0]} "
        "(also where only owner or permissions did): scan the data set again to make a version of what is there now"
    )
    details = {"files": changed[:NAMED_FILES], "count": len(changed), "looked_at": len(places)}
    return Warned(code="dataset_changed", message=message, details=details)


def _changed(files: ImageFiles, places: list[int], scanned_at: float) -> Iterator[str]:
    root = Path(files.root)
    base = root.parent if root.is_file() else root
    for place in places:
        member = files.table.member(place)
        try:
            found = (base / (member.container or member.path)).stat()
        except OSError:
            yield member.path
            continue
        resized = member.container is None and member.bytes not in (0, found.st_size)
        if resized or max(found.st_mtime, found.st_ctime) > scanned_at:
            yield member.path
