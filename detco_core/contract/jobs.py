"""`job.json`: what a worker, or a person, hands to `python -m detco_core VERB job.json`.

Paths are absolute. The job writes under `folder` only: `events.jsonl`, `checkpoints/`, and what its events name.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from detco_core.contract.config import RunConfig
from detco_core.contract.datasets import DatasetKind, DatasetRef, ObjectCache
from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.contract.evaluations import EvaluationSpec
from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.contract.manifest import EXPORT_FORMATS, ExportFormat, InputSpec, Lineage, Sizing
from detco_core.contract.reader import read, require
from detco_core.contract.weights import WeightsFormat

T = TypeVar("T")

EVENTS_FILE = "events.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Init:
    """Weights a run starts from instead of random ones: the backbone's, and where the file has them the heads'."""

    kind: Literal["checkpoint", "weights"]
    """A checkpoint of another run (query encoder, with its heads), or a foreign or imported weights file."""
    path: str
    sha256: str | None = None
    source: str | None = None
    """What people call it, for messages; None: `path`."""
    format: WeightsFormat | None = None
    """Of a weights file (`nets.foreign`); None: recognised by its keys."""
    strict: bool = True
    """Refuse the file when keys of the backbone are missing from it; else start with what matched, and warn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainJob:
    """Pretrain: `python -m detco_core pretrain job.json`, also under torchrun."""

    folder: str
    config: RunConfig
    dataset: DatasetRef
    run: str = "local"
    resume: str | None = None
    """Checkpoint to continue from, bit for bit; its config must equal this one."""
    resume_sha256: str | None = None
    extend: bool = False
    """Consent to resume with another length (`train.steps`, `train.epochs`): the schedule is laid over the new length,
    so a finished run's learning rate rises again."""
    init: Init | None = None
    """Where the weights come from at step 0; not looked at on resume."""
    allow_world_size_change: bool = False
    """Consent to resume with another number of processes: batch norm groups change, so the numbers do."""
    keep_checkpoints: int | None = None
    """Delete all but this many of the newest checkpoints; None keeps all, as a worker that uploads them must."""

    def __post_init__(self) -> None:
        require(self.keep_checkpoints is None or self.keep_checkpoints >= 1, "keep_checkpoints", "must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateJob:
    """Evaluate: ends with a `report` event that holds an `evaluations.Report`."""

    folder: str
    spec: EvaluationSpec
    dataset: DatasetRef
    run: str = "local"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportJob:
    """Export a backbone to `folder/bundle`: a checkpoint's query backbone, or that of a weights file.

    Ends with a `manifest.ExportReport`. A format the architecture has no equivalent in is left out, with a warning.
    """

    folder: str
    checkpoint: str | None = None
    checkpoint_sha256: str | None = None
    weights: str | None = None
    """Instead of a checkpoint: a foreign or imported weights file."""
    weights_sha256: str | None = None
    weights_format: WeightsFormat | None = None
    """None: recognised by the keys."""
    architecture: str = "resnet50"
    """Of the weights file; a checkpoint knows its own."""
    input: InputSpec | None = None
    """The images the backbone wants; None: of a checkpoint as its run's views say, of weights 8-bit RGB with ImageNet's
    mean and standard deviation."""
    sizing: Sizing | None = None
    """Of a checkpoint without `input`: its default resize and padding; None: images keep their size."""
    formats: tuple[ExportFormat, ...] = EXPORT_FORMATS
    lineage: Lineage = field(default_factory=Lineage)
    license: str | None = None
    created_by: str = ""
    run: str = "local"

    def __post_init__(self) -> None:
        one = (self.checkpoint is None) != (self.weights is None)
        require(one, "checkpoint", "give exactly one of checkpoint and weights")
        free = self.checkpoint is not None and self.input is None
        require(self.sizing is None or free, "sizing", "goes with a checkpoint alone: `input` says it all")
        require("onnx" in self.formats, "formats", "must hold onnx: it is what the service runs")
        require(len(set(self.formats)) == len(self.formats), "formats", "must not name a format twice")


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckJob:
    """Scan a data set: writes `folder/manifest.jsonl`; ends with a `datasets.ScanReport`."""

    folder: str
    root: str
    kind: DatasetKind = "images"
    exclude: tuple[str, ...] = ()
    """Glob patterns of relative paths to leave out."""
    splits: dict[str, str] = field(default_factory=dict)
    """Relative folder by split, where the kind's own layout does not say it; what lies in none is left out."""
    allowed_roots: tuple[str, ...] | None = None
    """Folders that the lines of a file list may lead into, besides the list's own; None: anywhere, as by hand."""
    cache: ObjectCache | None = None
    """For a root in S3: what was read to look at it is there for the runs."""
    run: str = "local"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportJob:
    """Check foreign weights and write them by our names: `folder/weights.pth`; ends with a `weights.WeightsReport`."""

    folder: str
    path: str
    sha256: str | None = None
    architecture: str = "resnet50"
    """The backbone the file must hold: torchvision's name, or `timm/NAME`."""
    channels: int = 3
    """Of the images it takes."""
    format: WeightsFormat | None = None
    """None: recognised by the keys."""
    strict: bool = True
    """Refuse a file that lacks keys of the backbone."""
    run: str = "local"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractJob:
    """Features of a data set to `folder/features` (`contract.extractions`); ends with an `ExtractionReport`.

    Shards that an earlier process finished are taken over: an index part in the folder says that its shard is done.
    """

    folder: str
    bundle: str
    """Folder of the bundle that is run."""
    dataset: DatasetRef
    options: ExtractionOptions = field(default_factory=ExtractionOptions)
    boxes: str | None = None
    """File of boxes by image: `{"a/b.jpg": [[x1, y1, x2, y2], ...]}`, or COCO annotations."""
    model: str = "local"
    """What people call the bundle, for the index."""
    weights_digest: str | None = None
    """Refuse a bundle with other weights."""
    licenses: dict[str, str] = field(default_factory=dict)
    max_bytes: int | None = None
    """Refuse to write more bytes of shards; None: no bound, as by hand."""
    max_image_bytes: int = 64 * 2**20
    max_image_pixels: int = 50_000_000
    """Larger images count as broken, as `/features` refuses them."""
    most_waiting: int | None = None
    """Wait while this many finished shards lie in the folder, from where a worker moves them to its store; None: no
    one takes them."""
    run: str = "local"

    def __post_init__(self) -> None:
        self.options.require_boxes(self.boxes is not None)
        require(self.most_waiting is None or self.most_waiting >= 1, "most_waiting", "must be at least 1")


Job = PretrainJob | EvaluateJob | ExportJob | CheckJob | ImportJob | ExtractJob
VERBS: dict[str, type[Any]] = {
    "pretrain": PretrainJob,
    "evaluate": EvaluateJob,
    "export": ExportJob,
    "check": CheckJob,
    "import": ImportJob,
    "extract": ExtractJob,
}


def read_job(cls: type[T], path: Path) -> T:
    """Read a job file; raises `InvalidDocument` naming the file and every fault."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidDocument(str(path), (Fault("", f"cannot be read as JSON: {error}"),)) from error
    return read(cls, data, str(path))
