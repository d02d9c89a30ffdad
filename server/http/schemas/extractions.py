"""Extractions: what is posted, planned and reported."""

from typing import Annotated, Any, Literal

from pydantic import Field

from control.db.models import Run
from control.records.planning.extractions import ExtractionPlan
from detco_core.contract.extractions.options import ShardFormat
from detco_core.contract.features import DType, Normalize, Orientation, Pool, RoiLevels
from detco_core.contract.reader import plain
from server.http.schemas.base import Json, Options, Text, View
from server.http.schemas.jobs import JobRequest, JobView, Waiting, job_fields


class ExtractionRequest(JobRequest):
    """The features of every image of a data set; words and defaults are those of `/features`."""

    model: Text
    """`name@alias`, `name:version`, or `name` for its alias `production`."""
    dataset: Text
    """`name` (its newest version) or `name@version`."""
    split: Text | None = None
    """Images of this split alone."""
    levels: Annotated[list[Text], Field(max_length=32)] | None = None
    """Those the model has; null: `res5`, or its last."""
    pool: Pool = "none"
    gem_p: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Power of `gem`."""
    boxes_from: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """A JSON file of boxes by image, or COCO annotations: an absolute path, `file://` or `upload:ID`. Features are then
    those under each box."""
    roi_size: int | None = None
    roi_levels: RoiLevels | None = None
    resize: Options | Literal["none"] | None = None
    """`{short_side, max_side}`, `{height, width}` or `none`; null: as the model's manifest says."""
    orientation: Orientation = "exif"
    dtype: DType = "float32"
    normalize: Normalize = "none"
    format: ShardFormat = "safetensors"
    """`parquet` for vectors: with `pool`."""
    shard_bytes: int = 256 * 2**20
    """The most one shard holds."""
    shard_images: int = 4096
    """The most images of one shard; what a lost worker costs is at most one shard."""
    batch_size: int = 8
    """Images of one size that a GPU computes at once."""

    @property
    def options(self) -> dict[str, Any]:
        """What the contract reads as `ExtractionOptions`."""
        given = {name: getattr(self, name) for name in _OPTIONS}
        return {name: value for name, value in given.items() if value is not None}


_OPTIONS = (
    *("split", "levels", "pool", "gem_p", "roi_size", "roi_levels", "resize", "orientation", "dtype", "normalize"),
    *("format", "shard_bytes", "shard_images", "batch_size"),
)


class ExtractionEstimateView(View):
    """What an extraction will take; null where it is not known."""

    bytes: int | None
    """Of all shards."""
    images: int | None
    boxes: int | None
    seconds: float | None
    basis: str
    """Where the figures come from."""


class ExtractionPlanView(View):
    """What an extraction would be: the answer to `dry_run=true`."""

    model: str
    """`name:version`"""
    weights_digest: str | None
    dataset: str
    """`name@version`"""
    levels: list[str]
    options: Json
    """All of them."""
    boxes_from: str | None
    licenses: dict[str, str]
    """Of the data set and of all that the model comes from; empty where none was named."""
    estimate: ExtractionEstimateView
    most_bytes: int
    """What one extraction may write."""
    fits: bool
    """Whether it may be submitted."""


class BrokenImageView(View):
    """An image without features."""

    path: str
    reason: str


class ExtractionFileView(View):
    """One file; `path` is relative to the extraction's files."""

    path: str
    bytes: int
    sha256: str


class ExtractionReportView(View):
    """The result."""

    images: int
    broken: int
    broken_images: list[BrokenImageView]
    """The first hundred; all are in the index parts."""
    shards: int
    bytes: int
    index: ExtractionFileView
    """Names every file, with its digest."""
    weights_digest: str
    dataset: str
    dataset_digest: str | None
    provider: str


class ExtractionView(JobView):
    """An extraction; `report` once it is completed."""

    model: str
    """`name:version`"""
    weights_digest: str | None
    options: Json
    boxes_from: str | None
    licenses: dict[str, str]
    estimate: ExtractionEstimateView
    report: ExtractionReportView | None


def extraction_view(run: Run, waiting: Waiting) -> ExtractionView:
    spec = run.spec
    return ExtractionView(
        **job_fields(run, waiting),
        model=spec["model"],
        weights_digest=spec["weights_digest"],
        options=spec["options"],
        boxes_from=spec["boxes"],
        licenses=spec["licenses"],
        estimate=ExtractionEstimateView.model_validate(spec["estimate"]),
        report=None if run.report is None else ExtractionReportView.model_validate(run.report),
    )


def extraction_plan_view(plan: ExtractionPlan) -> ExtractionPlanView:
    return ExtractionPlanView(
        model=plan.model.ref,
        weights_digest=plan.model.weights_digest,
        dataset=plan.dataset.ref,
        levels=list(plan.levels),
        options=plain(plan.options),
        boxes_from=plan.boxes.place if plan.boxes else None,
        licenses=plan.licenses,
        estimate=ExtractionEstimateView.model_validate(plain(plan.estimate)),
        most_bytes=plan.bounds.bytes,
        fits=plan.fits,
    )
