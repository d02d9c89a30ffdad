"""Submitting extractions: a model, a data set and what is asked of each image, with what it will take."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.models import Dataset, DatasetVersion, ModelVersion, Run, Upload
from control.errors import InvalidRequest
from control.records.datasets.datasets import resolve
from control.records.models.aliases import resolve_ready
from control.records.models.registry import hold_version
from control.records.runs.kinds import Queue
from control.records.runs.submission import NewRun
from control.records.scheduling.workers import list_slots
from control.records.store import roots as local
from control.records.store.uploads import SCHEME, usable_upload
from detco_core.contract.errors import BundleError
from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.contract.extractions.volume import estimate_bytes, too_large
from detco_core.contract.manifest import Manifest
from detco_core.contract.reader import FieldError, plain, read

_LOOK_BACK = 100
"""Earlier extractions that an estimate of the time looks at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Boxes:
    """A file of boxes: where it is, the digest of an uploaded one, and how many there are."""

    place: str
    """An absolute path or `upload:ID`."""
    digest: str | None
    count: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """The most an extraction may write, and the largest images it takes: those of `/features`."""

    bytes: int
    image_bytes: int
    image_pixels: int


@dataclass(frozen=True, kw_only=True, slots=True)
class NewExtraction:
    """What is needed to submit an extraction."""

    model: str
    """`name@alias`, `name:version`, or `name` for its alias `production`."""
    dataset: str
    options: Mapping[str, Any]
    """Read as `ExtractionOptions`."""
    boxes: Boxes | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractionEstimate:
    """What it will take; None where it is not known."""

    bytes: int | None
    images: int | None
    boxes: int | None
    seconds: float | None
    basis: str
    """Where the figures come from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractionPlan:
    """An extraction with everything resolved."""

    options: ExtractionOptions
    levels: tuple[str, ...]
    model: ModelVersion
    dataset: DatasetVersion
    boxes: Boxes | None
    licenses: dict[str, str]
    """Of the data set and of all that the model comes from."""
    estimate: ExtractionEstimate
    bounds: Bounds

    @property
    def fits(self) -> bool:
        """Whether it may be submitted, as far as is known."""
        return self.estimate.bytes is None or self.estimate.bytes <= self.bounds.bytes

    def run(self, session: Session, **more: Any) -> NewRun:
        """The run of kind `extract` for it; `more` are further fields of `NewRun`.

        Raises:
            InvalidRequest: it would write more than is allowed; names the estimate and what makes it smaller.
        """
        if self.estimate.bytes is not None and not self.fits:
            raise InvalidRequest("levels", too_large(self.estimate.bytes, self.bounds.bytes))
        spec = {
            "model_version_id": self.model.id,
            "model": self.model.ref,
            "weights_digest": self.model.weights_digest,
            "dataset_version_id": self.dataset.id,
            "options": plain(self.options),
            "boxes": self.boxes.place if self.boxes else None,
            "licenses": self.licenses,
            "estimate": plain(self.estimate),
            "bounds": plain(self.bounds),
        }
        return NewRun(kind="extract", spec=spec, dataset_version_id=self.dataset.id, queue=_queue(session), **more)


def find_boxes(session: Session, uri: str, roots: Sequence[str]) -> Boxes:
    """The file of boxes that a request names, not looked into.

    Raises:
        InvalidRequest, ForbiddenRoot: there is no such file or upload, or it lies outside `roots`.
        NotReady: bytes of the upload are missing.
    """
    try:
        if uri.startswith(SCHEME):
            upload: Upload = usable_upload(session, uri, "boxes")
            return Boxes(place=f"{SCHEME}{upload.id}", digest=upload.digest)
        return Boxes(place=str(local.resolve_file(uri, roots)), digest=None)
    except InvalidRequest as error:
        raise type(error)("boxes_from", error.faults[0].message) from error


def plan_extraction(session: Session, asked: NewExtraction, bounds: Bounds) -> ExtractionPlan:
    """Resolve what is asked and say what it will take.

    Raises:
        InvalidDocument: an option out of range.
        InvalidRequest: a level the model lacks, a split the data set lacks, or words about boxes without any.
        NotFound, NotReady: what it names does not exist, or not yet.
    """
    options = read(ExtractionOptions, asked.options, "extraction")
    version = hold_version(session, resolve_ready(session, asked.model))
    dataset = resolve(session, asked.dataset)
    manifest = read(Manifest, version.manifest or {}, f"manifest of {version.ref}")
    try:
        options.require_boxes(asked.boxes is not None)
        levels = tuple(level.name for level in options.levels_of(manifest))
    except FieldError as error:
        raise InvalidRequest(error.field, error.message) from error
    except BundleError as error:
        raise InvalidRequest("levels", str(error)) from error
    return ExtractionPlan(
        options=options,
        levels=levels,
        model=version,
        dataset=dataset,
        boxes=asked.boxes,
        licenses=_licenses(session, version, dataset),
        estimate=_estimate(session, options, manifest, version, dataset, asked.boxes),
        bounds=bounds,
    )


def _estimate(
    session: Session,
    options: ExtractionOptions,
    manifest: Manifest,
    version: ModelVersion,
    dataset: DatasetVersion,
    boxes: Boxes | None,
) -> ExtractionEstimate:
    images, count = _images(dataset, options.split), boxes.count if boxes else None
    if images is None or not dataset.width or not dataset.height:
        text = "unknown: the data set is not scanned yet; the job itself looks before it begins"
        return ExtractionEstimate(bytes=None, images=None, boxes=count, seconds=None, basis=text)
    width, height = dataset.width[1], dataset.height[1]
    speed = _speed(session, version, options)
    basis = f"arithmetic: {images} images of the median size {width}x{height}"
    if boxes:
        basis = f"arithmetic: {boxes.count} boxes on {images} images"
    basis += "; time by earlier extractions like this one" if speed else "; no like extraction has been timed yet"
    return ExtractionEstimate(
        bytes=estimate_bytes(options, manifest, [(width, height, images)], count),
        images=images,
        boxes=count,
        seconds=images / speed if speed else None,
        basis=basis,
    )


def _images(dataset: DatasetVersion, split: str | None) -> int | None:
    if split is None or dataset.images is None:
        return dataset.images
    found = dataset.splits or {}
    if split not in found:
        names = ", ".join(sorted(name for name in found if name)) or "none"
        raise InvalidRequest("split", f"{dataset.ref} has no split {split!r}; its splits: {names}")
    return int(found[split])


def _speed(session: Session, version: ModelVersion, options: ExtractionOptions) -> float | None:
    """Images a second of earlier extractions of this model that asked the same."""
    query = select(Run.spec, Run.progress).where(Run.kind == "extract", Run.progress.is_not(None))
    rows = session.execute(query.order_by(Run.id.desc()).limit(_LOOK_BACK))
    alike = [
        float((progress or {}).get("images_per_second") or 0)
        for spec, progress in rows
        if spec["model_version_id"] == version.id and spec["options"] == plain(options)
    ]
    seen = [speed for speed in alike if speed > 0]
    return statistics.median(seen) if seen else None


def _licenses(session: Session, version: ModelVersion, dataset: DatasetVersion) -> dict[str, str]:
    row = session.get(Dataset, dataset.dataset)
    of_data = {f"data set {dataset.ref}": (row.license if row else None) or ""}
    of_model = (version.lineage or {}).get("licenses") or {f"model {version.ref}": version.license or ""}
    return {**of_model, **of_data}


def _queue(session: Session) -> Queue:
    """Where there is a GPU it takes one; else it is light work, as an evaluation is."""
    return "gpu" if any(slot.is_gpu and slot.purpose == "train" for slot in list_slots(session)) else "cpu"
