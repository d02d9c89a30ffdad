"""Reads every file of a data set once and writes its manifest: what a data set version is.

Imports no torch: the job runs where none may be installed, and starts in a moment.
"""

import os
import statistics
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from detco_core.contract.datasets import BrokenFile, ChannelStatistics, DatasetFile, ScanReport
from detco_core.contract.errors import DataError
from detco_core.contract.jobs import CheckJob
from detco_core.data.catalog import find_source
from detco_core.data.channels import inspect
from detco_core.data.file_table import FileTable, tabulate, write_manifest
from detco_core.data.images import quiet
from detco_core.data.sources import Source
from detco_core.data.statistics import scan_statistics

MANIFEST = "manifest.jsonl"
REPORT_SECONDS = 0.5
MAX_THREADS = 16

Progress = Callable[[int, int], None]
"""Called with the files done and the files in all, at the start, at the end, and every half second between."""


class Probed(NamedTuple):
    """An image that could be decoded, and how deep its values are stored."""

    file: DatasetFile
    bit_depth: int


def scan(job: CheckJob, on_progress: Progress = lambda done, total: None) -> ScanReport:
    """Decode every image of `job.root`, write `job.folder`/manifest.jsonl, and report.

    A file that cannot be decoded is left out and listed, never fatal.

    Raises:
        DataError: a kind that is not supported, a root that does not fit it, or no readable image in it.
    """
    root = Path(job.root)
    layout, source = find_source(job.kind, root, job.exclude, job.allowed_roots)
    listing = source.listing(job.exclude)
    wanted = tabulate(layout.placed(listing.files))
    files: list[DatasetFile] = []
    broken = list(listing.unusable)
    deep: set[int] = set()
    with quiet():
        for found in _with_progress(_probe_all(source, wanted), len(wanted), on_progress):
            if isinstance(found, BrokenFile):
                broken.append(found)
                continue
            files.append(found.file)
            if found.bit_depth == 16:
                deep.add(found.file.channels)
    if not files:
        raise DataError(_nothing_readable(root, layout.expected, broken))
    measured = scan_statistics(source, tabulate(files), frozenset(deep))
    return _report(files, broken, measured, write_manifest(Path(job.folder) / MANIFEST, files))


def _probe_all(source: Source, wanted: FileTable) -> Iterator[Probed | BrokenFile]:
    """Probe in threads (Pillow decodes without the GIL), in order, with a bounded number of files under way."""
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    under_way: deque[Future[Probed | BrokenFile]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="scan")
    try:
        for index in range(len(wanted)):
            under_way.append(pool.submit(probe, source, wanted, index))
            if len(under_way) > 8 * threads:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def probe(source: Source, table: FileTable, index: int) -> Probed | BrokenFile:
    """Decode one image to its end and say what it is, or why it cannot be used."""
    file = table.file(index)
    try:
        where = source.open(table.member(index))
        facts = inspect(where)
        size = len(where.getbuffer()) if isinstance(where, BytesIO) else Path(where).stat().st_size
    except DataError as error:
        return BrokenFile(path=file.path, reason=str(error))
    found = replace(file, bytes=size, width=facts.width, height=facts.height, channels=facts.channels)
    return Probed(found, facts.bit_depth)


def _with_progress(
    found: Iterable[Probed | BrokenFile], total: int, on_progress: Progress
) -> Iterator[Probed | BrokenFile]:
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


def _report(
    files: Sequence[DatasetFile], broken: Sequence[BrokenFile], measured: dict[str, ChannelStatistics], digest: str
) -> ScanReport:
    return ScanReport(
        digest=digest,
        images=len(files),
        bytes=sum(file.bytes for file in files),
        splits=dict(sorted(Counter(file.split or "" for file in files).items())),
        labels=dict(sorted(Counter(file.label for file in files if file.label is not None).items())),
        channels=dict(sorted(Counter(str(file.channels) for file in files).items())),
        width=_spread([file.width for file in files]),
        height=_spread([file.height for file in files]),
        statistics=measured,
        broken=tuple(sorted(broken, key=lambda file: file.path)),
    )


def _spread(values: list[int]) -> tuple[int, int, int]:
    return min(values), statistics.median_low(values), max(values)
