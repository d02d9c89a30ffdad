"""The extraction job: the features of a data set, written shard by shard, going on where an earlier process ended.

Shards are cut by the sizes of the features in the order of the data set, so they do not depend on what was computed
when: a job that was killed and taken up again leaves, on a CPU, the bytes of one that was not.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from detco_core import __version__
from detco_core.contract.errors import DataError
from detco_core.contract.events import ArtifactSaved, Reported, Started, Warned
from detco_core.contract.extractions.files import (
    FOLDER,
    INDEX_FILE,
    Entry,
    ExtractionIndex,
    ShardFiles,
    StoredFile,
    read_line,
)
from detco_core.contract.extractions.report import BrokenImage, ExtractionReport
from detco_core.contract.extractions.volume import too_large
from detco_core.contract.jobs import ExtractJob
from detco_core.contract.reader import canonical_json, plain
from detco_core.data.freshness import changed_files
from detco_core.data.opening import quiet
from detco_core.extraction.atomic import forget_drafts, stored_text
from detco_core.extraction.behind import Written, WrittenBehind
from detco_core.extraction.boxes import BoxFile
from detco_core.extraction.computing import Computer, names_of
from detco_core.extraction.lanes import open_lanes
from detco_core.extraction.opening import boxes_digest, open_reader, open_session, question_of, threads_of_process
from detco_core.extraction.reading import Reader
from detco_core.extraction.shards import Shard, ShardWriter, finished_shards
from detco_core.extraction.windows import Window, windows
from detco_core.inference.sessions.execution import CUDA
from detco_core.inference.sessions.session import Session
from detco_core.runtime.pace import Pace
from detco_core.runtime.reporter import Reporter

NAMED_IMAGES = 100
"""Broken images a report names, and names that a warning does."""
_MOST_THREADS = 16
_PATIENCE = 0.2
"""Seconds between two looks at whether a finished shard was taken away."""


def run(job: ExtractJob, reporter: Reporter) -> None:
    """Write `job.folder/features`; each shard, and last the index, is reported as an artifact when it is complete.

    Raises:
        DetcoError: what a person must mend: bundle, data set, boxes, or more bytes than allowed; or no image at all
            could be read.
    """
    session = open_session(job)
    reader = open_reader(job, session.manifest)
    folder = Path(job.folder) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    forget_drafts(folder)
    question = question_of(job, session.manifest, reader.files)
    done, broken = finished_shards(folder, question)
    start = sum(shard.images for shard in done)
    environment = {"version": __version__, "provider": session.provider, "device": _device(session)}
    reporter.emit(Started(environment=environment, resumed_from=start if done else None))
    _warn(job, session, reader, reporter)
    extraction = Extraction(job, session, reader, reporter, question, done, broken)
    with quiet():
        extraction.go_on(start)
    extraction.close()


@dataclass(slots=True)
class Extraction:
    """An extraction under way."""

    job: ExtractJob
    session: Session
    reader: Reader
    reporter: Reporter
    question: str
    done: list[ShardFiles]
    broken: list[str]
    """Lines of images without features."""
    writer: ShardWriter = field(init=False)
    untaken: list[Path] = field(default_factory=list)
    """Shards that may still lie in the folder."""
    bytes: int = 0
    """Of all shards."""

    def __post_init__(self) -> None:
        self.bytes = sum(shard.shard.bytes for shard in self.done)
        regions = self.reader.boxes is not None
        self.writer = ShardWriter(
            folder=Path(self.job.folder) / FOLDER,
            names=names_of(self.reader.selection, self.session.manifest, regions=regions),
            options=self.job.options,
            question=self.question,
            stacks=regions or self.job.options.pool != "none",
        )

    def go_on(self, start: int) -> None:
        """Compute and write everything from image `start` on."""
        threads = threads_of_process()
        lanes = open_lanes(self.session, threads, partial(open_session, self.job, threads))
        computer = Computer(self.session, lanes, self.reader.selection, self.job.options.batch_size)
        pace = Pace(len(self.reader), self.reporter.emit, start)
        pace.say()
        items = self.reader.items(start, min(threads, _MOST_THREADS), threads + computer.window)
        with closing(items), WrittenBehind(self.writer.write) as behind:
            try:
                self._compute(computer, windows(items, computer.window, self.job.options), behind, pace)
            finally:
                # What is whole need not be computed again by whoever goes on.
                self._tell_of(behind.left())

    def _compute(self, computer: Computer, windows: Iterator[Window], behind: WrittenBehind, pace: Pace) -> None:
        shard, crew = Shard(len(self.done)), computer.crew()
        with closing(crew.results(windows)) as results:
            for window, images in results:
                for image in images:
                    shard.add(image)
                pace.count(len(window), crew.starved())
                self._tell_of(behind.take(wait=window.ends_shard))
                if window.ends_shard:
                    self._wait_for_room(pace)
                    behind.begin(shard)
                    shard = Shard(shard.number + 1)
        self._tell_of(behind.take(wait=True))

    def close(self) -> None:
        """Write the index and report."""
        images, broken = sum(shard.images for shard in self.done), sum(shard.broken for shard in self.done)
        named = [read_line(Entry, line, "an index part") for line in self.broken[:NAMED_IMAGES]]
        listed = tuple(BrokenImage(path=entry.image, reason=entry.error.message) for entry in named if entry.error)
        if images == broken:
            first = f", e.g. {listed[0].path}: {listed[0].reason}" if listed else ""
            raise DataError(f"no image of {self.job.dataset.name} could be read: all {images} are broken{first}")
        index = stored_text(self.writer.folder / INDEX_FILE, canonical_json(self._index(images, broken)) + "\n")
        self._tell(index)
        report = ExtractionReport(
            images=images,
            broken=broken,
            broken_images=listed,
            shards=len(self.done),
            bytes=self.bytes,
            index=index,
            weights_digest=self.session.manifest.weights_digest,
            dataset=self.job.dataset.name,
            dataset_digest=self.job.dataset.digest,
            provider=self.session.provider,
        )
        self.reporter.emit(Reported(report=plain(report)))

    def _tell_of(self, written: list[Written]) -> None:
        for files, broken in written:
            self.done.append(files)
            self.broken += broken
            self.untaken.append(self.writer.folder / files.shard.path)
            self.bytes += files.shard.bytes
            most = self.job.max_bytes
            if most is not None and self.bytes > most:
                raise DataError(too_large(self.bytes, most))
            self._tell(files.shard)
            self._tell(files.part)

    def _wait_for_room(self, pace: Pace) -> None:
        """While whoever takes shards away is slower than we are, disks fill up."""
        most = self.job.most_waiting
        while most is not None and self._waiting() >= most:
            time.sleep(_PATIENCE)
            pace.say_again()

    def _waiting(self) -> int:
        """Finished shards that still lie in the folder."""
        self.untaken = [path for path in self.untaken if path.exists()]
        return len(self.untaken)

    def _tell(self, file: StoredFile) -> None:
        name = f"{FOLDER}/{file.path}"
        self.reporter.emit(ArtifactSaved(name=name, path=name, bytes=file.bytes, sha256=file.sha256))

    def _index(self, images: int, broken: int) -> ExtractionIndex:
        manifest, job = self.session.manifest, self.job
        return ExtractionIndex(
            model=job.model,
            weights_digest=manifest.weights_digest,
            input=manifest.input,
            levels=job.options.levels_of(manifest),
            dataset=job.dataset.name,
            dataset_digest=job.dataset.digest,
            options=job.options,
            boxes_digest=boxes_digest(job),
            licenses=job.licenses,
            images=images,
            broken=broken,
            bytes=self.bytes,
            shards=tuple(self.done),
        )


def _warn(job: ExtractJob, session: Session, reader: Reader, reporter: Reporter) -> None:
    changed = changed_files(reader.files, job.dataset)
    if changed is not None:
        reporter.emit(changed)
    if reader.boxes is not None and reader.boxes.unused:
        reporter.emit(_unused(job, reader.boxes))
    wanted = session.execution.order[0]
    if session.provider != wanted:
        message = f"asked onnxruntime for {wanted}, got {session.provider}: this will take longer"
        reporter.emit(Warned(code="provider_fallback", message=message))


def _unused(job: ExtractJob, boxes: BoxFile) -> Warned:
    """A name that is written otherwise costs its image all its boxes."""
    whole = f"{job.dataset.name}, split {job.options.split}" if job.options.split else job.dataset.name
    count, first = len(boxes.unused), boxes.unused[0]
    message = f"{count} of {len(boxes.boxes)} names in the file of boxes are no image of {whole}, e.g. {first!r}"
    details = {"count": count, "names": list(boxes.unused[:NAMED_IMAGES])}
    return Warned(code="boxes_unused", message=message, details=details)


def _device(session: Session) -> str:
    return "cuda" if session.provider == CUDA else "cpu"
