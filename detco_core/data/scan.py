"""Reads every file of a data set once and writes its manifest: what a data set version is.

Imports no torch: the job runs where none may be installed, and starts in a moment.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.datasets import BrokenFile, ChannelStatistics, DatasetFile, ScanReport
from detco_core.contract.errors import DataError
from detco_core.contract.jobs import CheckJob
from detco_core.data.ahead import ahead
from detco_core.data.catalog import find_source, located
from detco_core.data.channels import inspect
from detco_core.data.file_table import LABEL, SPLIT, FileTable, TableBuilder, tabulate
from detco_core.data.manifest import write_manifest
from detco_core.data.opening import quiet
from detco_core.data.sources import Source, Unreachable
from detco_core.data.spill import BrokenFiles
from detco_core.data.statistics import scan_statistics

MANIFEST = "manifest.jsonl"
BROKEN = "broken.jsonl"
"""Every broken file, where there are more than a report names."""
NAMED_FILES = 1000
"""Broken files a report names."""
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

    A file that cannot be decoded is left out and listed, never fatal; where more are broken than a report names, all
    are in `job.folder`/broken.jsonl. Memory does not grow with the number of files: lists are on disk, in the job's
    folder.

    Raises:
        DataError: a kind that is not supported, a root that does not fit it, or no readable image in it.
        Unreachable: S3 does not answer.
    """
    folder, at = Path(job.folder), located(job.root, job.cache)
    layout, source = find_source(job.kind, at, job.exclude, job.allowed_roots, job.splits)
    listing = source.listing(job.exclude)
    wanted = tabulate(layout.placed(listing.files), folder)
    findings = _Findings(table=TableBuilder(folder))
    for file in listing.unusable:
        findings.broken.append(file.path, file.reason)
    with quiet():
        found = findings.readable(_with_progress(_probe_all(source, wanted), len(wanted), on_progress))
        first = next(found, None)
        if first is None:
            raise DataError(_nothing_readable(job.root, layout.expected, findings.broken))
        digest = write_manifest(folder / MANIFEST, chain([first], found))
    table = findings.table.table()
    measured = scan_statistics(source, table, frozenset(findings.deep))
    return _report(table, _name_broken(folder, findings.broken), len(findings.broken), measured, digest)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Findings:
    """What has been found so far."""

    table: TableBuilder
    broken: BrokenFiles = field(default_factory=BrokenFiles)
    deep: set[int] = field(default_factory=set)
    """Channel counts of which some image is stored with 16 bits."""

    def readable(self, found: Iterable[Probed | BrokenFile]) -> Iterator[DatasetFile]:
        """The images among what was probed, all noted."""
        for item in found:
            if isinstance(item, BrokenFile):
                self.broken.append(item.path, item.reason)
                continue
            self.table.add(item.file)
            if item.bit_depth == 16:
                self.deep.add(item.file.channels)
            yield item.file


def _probe_all(source: Source, wanted: FileTable) -> Iterator[Probed | BrokenFile]:
    """Probe in threads (Pillow decodes without the GIL), in order, with a bounded number of files under way."""
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    return ahead(lambda index: probe(source, wanted, index), range(len(wanted)), threads)


def probe(source: Source, table: FileTable, index: int) -> Probed | BrokenFile:
    """Decode one image to its end and say what it is, or why it cannot be used; raises `Unreachable`."""
    file = table.file(index)
    try:
        where = source.open(table.member(index))
        facts = inspect(where)
        size = len(where.getbuffer()) if isinstance(where, BytesIO) else Path(where).stat().st_size
    except Unreachable as error:
        raise Unreachable(f"{file.path}: {error}") from error
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


def _nothing_readable(root: str, expected: str, broken: BrokenFiles) -> str:
    if not len(broken):
        return f"no image files in {root}: expected {expected}"
    first = next(iter(broken))
    return f"no readable image in {root}: all {len(broken)} are broken, e.g. {first.path}: {first.reason}"


def _name_broken(folder: Path, broken: BrokenFiles) -> tuple[BrokenFile, ...]:
    """Those a report names, by path; when they are not all, the whole list is written to the folder."""
    if len(broken) > NAMED_FILES:
        with (folder / BROKEN).open("w", encoding="utf-8") as out:
            for file in broken.by_path():
                out.write(json.dumps({"path": file.path, "reason": file.reason}, ensure_ascii=False) + "\n")
    return tuple(islice(broken.by_path(), NAMED_FILES))


def _report(
    table: FileTable,
    broken: tuple[BrokenFile, ...],
    broken_count: int,
    measured: dict[str, ChannelStatistics],
    digest: str,
) -> ScanReport:
    facts = table.facts
    counts, numbers = np.unique(facts[:, 3], return_counts=True)
    channels = {str(count): number for count, number in zip(counts.tolist(), numbers.tolist(), strict=True)}
    labels = {label: number for label, number in table.count(LABEL).items() if label is not None}
    return ScanReport(
        digest=digest,
        images=len(table),
        bytes=int(facts[:, 0].sum()),
        splits=dict(sorted((split or "", number) for split, number in table.count(SPLIT).items())),
        labels=dict(sorted(labels.items())),
        channels=dict(sorted(channels.items())),
        width=_spread(facts[:, 1]),
        height=_spread(facts[:, 2]),
        statistics=measured,
        broken=broken,
        broken_count=broken_count,
    )


def _spread(values: NDArray[np.int64]) -> tuple[int, int, int]:
    middle = (len(values) - 1) // 2
    return int(values.min()), int(np.partition(values, middle)[middle]), int(values.max())
