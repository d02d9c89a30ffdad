"""Reads every file of a data set once and writes its manifest: what a data set version is.

Imports no torch: the job runs where none may be installed, and starts in a moment.
"""

import os
import statistics
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import monotonic

from PIL import Image

from detco_core.contract.datasets import BrokenFile, DatasetFile, ScanReport
from detco_core.contract.errors import DataError
from detco_core.contract.jobs import CheckJob
from detco_core.data.catalog import Place, layout_of
from detco_core.data.filelist import write_manifest
from detco_core.data.images import opened, quiet
from detco_core.data.listing import list_images

MANIFEST = "manifest.jsonl"
PROOF_SIDE = 64
"""JPEGs are proved at a reduced scale down to this short side: all of their data is still read."""
REPORT_SECONDS = 0.5
MAX_THREADS = 16

Progress = Callable[[int, int], None]
"""Called with the files done and the files in all, at the start, at the end, and every half second between."""


def scan(job: CheckJob, on_progress: Progress = lambda done, total: None) -> ScanReport:
    """Decode every image below `job.root`, write `job.folder`/manifest.jsonl, and report.

    A file that cannot be decoded is left out and listed, never fatal.

    Raises:
        DataError: a kind that is not supported, a root that does not fit it, or no readable image in it.
    """
    root = Path(job.root)
    layout = layout_of(job.kind, root)
    listing = list_images(root, job.exclude)
    wanted = [(path, place) for path in listing.paths if (place := layout.place(path)) is not None]
    files: list[DatasetFile] = []
    broken = list(listing.unusable)
    with quiet():
        for found in _with_progress(_probe_all(root, wanted), len(wanted), on_progress):
            if isinstance(found, DatasetFile):
                files.append(found)
            else:
                broken.append(found)
    if not files:
        raise DataError(_nothing_readable(root, layout.expected, broken))
    return _report(files, broken, write_manifest(Path(job.folder) / MANIFEST, files))


def _probe_all(root: Path, wanted: list[tuple[str, Place]]) -> Iterator[DatasetFile | BrokenFile]:
    """Probe in threads (Pillow decodes without the GIL), in order, with a bounded number of files under way."""
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    under_way: deque[Future[DatasetFile | BrokenFile]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="scan")
    try:
        for path, place in wanted:
            under_way.append(pool.submit(probe, root, path, place))
            if len(under_way) > 8 * threads:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def probe(root: Path, path: str, place: Place) -> DatasetFile | BrokenFile:
    """Decode one file to its end and say what it is, or why it cannot be used."""
    try:
        with opened(root / path) as image:
            width, height = image.size
            image.draft("RGB", (PROOF_SIDE, PROOF_SIDE))
            image.load()
            return DatasetFile(
                path=path,
                bytes=(root / path).stat().st_size,
                width=width,
                height=height,
                channels=_channels(image),
                label=place.label,
                split=place.split,
            )
    except DataError as error:
        return BrokenFile(path=path, reason=str(error))


def _channels(image: Image.Image) -> int:
    return 3 if image.mode == "P" else len(image.getbands())


def _with_progress(
    found: Iterable[DatasetFile | BrokenFile], total: int, on_progress: Progress
) -> Iterator[DatasetFile | BrokenFile]:
    on_progress(0, total)
    reported = monotonic()
    for done, item in enumerate(found, start=1):
        yield item
        if monotonic() - reported > REPORT_SECONDS and done < total:
            on_progress(done, total)
            reported = monotonic()
    on_progress(total, total)


def _nothing_readable(root: Path, expected: str, broken: list[BrokenFile]) -> str:
    if not broken:
        return f"no image files in {root}: expected {expected}"
    return f"no readable image in {root}: all {len(broken)} are broken, e.g. {broken[0].path}: {broken[0].reason}"


def _report(files: list[DatasetFile], broken: list[BrokenFile], digest: str) -> ScanReport:
    return ScanReport(
        digest=digest,
        images=len(files),
        bytes=sum(file.bytes for file in files),
        splits=dict(sorted(Counter(file.split or "" for file in files).items())),
        labels=dict(sorted(Counter(file.label for file in files if file.label is not None).items())),
        channels=dict(sorted(Counter(str(file.channels) for file in files).items())),
        width=_spread([file.width for file in files]),
        height=_spread([file.height for file in files]),
        broken=tuple(sorted(broken, key=lambda file: file.path)),
    )


def _spread(values: list[int]) -> tuple[int, int, int]:
    return min(values), statistics.median_low(values), max(values)
