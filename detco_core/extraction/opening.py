"""Opens what an extraction is about: the backbone, the images, the boxes; refuses what would be too large."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.errors import BundleError, DataError, OutOfMemory
from detco_core.contract.extractions.volume import estimate_bytes, too_large
from detco_core.contract.jobs import ExtractJob
from detco_core.contract.manifest import Manifest
from detco_core.contract.reader import digest, plain
from detco_core.contract.shortage import is_out_of_memory
from detco_core.data.file_table import SPLIT
from detco_core.data.images import ImageFiles
from detco_core.extraction.atomic import describe
from detco_core.extraction.boxes import BoxFile
from detco_core.extraction.computing import selection_of
from detco_core.extraction.reading import Reader
from detco_core.inference.pictures.images import Limits
from detco_core.inference.sessions.execution import Execution
from detco_core.inference.sessions.session import Session


def open_session(job: ExtractJob, threads: int = 1) -> Session:
    """The backbone, each image computed in so many threads of the CPU where it has no GPU.

    Raises:
        BundleError: it cannot be opened or has other weights than the job says.
        OutOfMemory: there is no room for it.
    """
    try:
        session = Session.open(Path(job.bundle), Execution(threads=threads))
    except BundleError as error:
        if error.__cause__ is None or not is_out_of_memory(error.__cause__):
            raise
        raise OutOfMemory(f"out of memory: {error}; close what else uses this machine or GPU") from error
    found = session.manifest.weights_digest
    if job.weights_digest is not None and found != job.weights_digest:
        raise BundleError(f"{job.model} has the weights {found}, expected were {job.weights_digest}")
    return session


def open_reader(job: ExtractJob, manifest: Manifest) -> Reader:
    """The images and their boxes.

    Raises:
        BundleError: the model has no such level.
        DataError: data set or boxes cannot be used, or the features would be more than the job allows.
    """
    job.options.levels_of(manifest)
    files = ImageFiles.open(job.dataset)
    members = _members(files, job.options.split)
    boxes = None
    if job.boxes is not None:
        boxes = BoxFile.read(Path(job.boxes), (files.table.path(int(member)) for member in members))
    _check_size(job, manifest, files, members, boxes)
    limits = Limits(bytes=job.max_image_bytes, pixels=job.max_image_pixels)
    return Reader(files, members, manifest, job.options, selection_of(job.options), limits, boxes)


def _members(files: ImageFiles, split: str | None) -> NDArray[np.int64]:
    if split is None:
        return np.arange(len(files), dtype=np.int64)
    members = files.table.places(split)
    if not len(members):
        there = ", ".join(sorted(name for name in files.table.count(SPLIT) if name)) or "none"
        raise DataError(f"{files.name} has no images in split {split!r}; its splits: {there}")
    return members


def _check_size(
    job: ExtractJob, manifest: Manifest, files: ImageFiles, members: NDArray[np.int64], boxes: BoxFile | None
) -> None:
    """Refuse before the first image what would not fit; a root that was listed by hand has no sizes yet."""
    if job.max_bytes is None:
        return
    shapes, counts = np.unique(files.table.facts[members, 1:3], axis=0, return_counts=True)
    pairs = zip(shapes.tolist(), counts.tolist(), strict=True)
    sizes = [(width, height, count) for (width, height), count in pairs if width and height]
    wanted = None
    if boxes is not None:
        wanted = sum(len(boxes.of(files.table.path(int(member)))) for member in members)
    expected = estimate_bytes(job.options, manifest, sizes, wanted)
    if expected > job.max_bytes:
        raise DataError(too_large(expected, job.max_bytes))


def question_of(job: ExtractJob, manifest: Manifest, files: ImageFiles) -> str:
    """Digest of all that the features depend on, and of the images' order, which says where to go on."""
    return digest(
        {
            "options": plain(job.options),
            "weights": manifest.weights_digest,
            "dataset": job.dataset.digest or [job.dataset.root, files.table.digest()],
            "boxes": boxes_digest(job),
        }
    )


def boxes_digest(job: ExtractJob) -> str | None:
    """Of the file of boxes."""
    return None if job.boxes is None else describe(Path(job.boxes)).sha256


def threads_of_process() -> int:
    """Threads this process may use: a worker says so in OMP_NUM_THREADS."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) else len(os.sched_getaffinity(0))
