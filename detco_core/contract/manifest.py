"""What an exported bundle contains: `manifest.json` beside its files.

The manifest travels with the weights and is all a server or a script needs to run them: how an image becomes input,
which levels come out and at which stride, and the digest of every file.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from detco_core.contract.errors import BundleError, InvalidDocument
from detco_core.contract.reader import read, require

MANIFEST_FILE = "manifest.json"
FORMAT = 1

ExportFormat = Literal["onnx", "torchvision", "timm", "detectron2", "mmdetection"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = ("onnx", "torchvision", "timm", "detectron2", "mmdetection")
"""What a bundle can hold; `onnx` is what the service runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """One dense output: `[N, channels, ceil(H / stride), ceil(W / stride)]` float32."""

    name: str
    """Of the ONNX output and in every request: `res2`..`res5`, or `p2`..`p6` of an exported FPN."""
    channels: int
    stride: int


MAX_SIDE = 65536
"""Pixels of a side that an image may be resized to."""
MAX_MULTIPLE = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizing:
    """How images are sized where a request does not say it: what a checkpoint does not know of its `InputSpec`."""

    short_side: int | None = None
    max_side: int | None = None
    multiple: int = 1

    def __post_init__(self) -> None:
        _check_sizes(self.short_side, self.max_side)
        require(0 < self.multiple <= MAX_MULTIPLE, "multiple", f"must be 1..{MAX_MULTIPLE}")


def _check_sizes(short_side: int | None, max_side: int | None) -> None:
    require(short_side is None or 0 < short_side <= MAX_SIDE, "short_side", f"must be 1..{MAX_SIDE}")
    require(max_side is None or short_side is not None, "max_side", "bounds what short_side makes: give that too")
    fits = max_side is None or short_side is None or short_side <= max_side <= MAX_SIDE
    require(fits, "max_side", f"must be short_side..{MAX_SIDE}")


@dataclass(frozen=True, kw_only=True, slots=True)
class InputSpec:
    """How a decoded image becomes the ONNX input `image`: `[N, channels, H, W]` float32.

    Values are scaled to 0..1, then `(value - mean) / std` per channel.
    """

    channels: int = 3
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    color: Literal["rgb", "gray", "raw"] = "rgb"
    bit_depth: int = 8
    """Bits per channel the values are divided by: 8 means / 255, 16 means / 65535."""
    interpolation: Literal["bilinear"] = "bilinear"
    """Antialiased, as Pillow's resize."""
    short_side: int | None = None
    """Default resize: short side to this many pixels, aspect kept, `max_side` at most; None keeps the size."""
    max_side: int | None = None
    multiple: int = 1
    """The network input is padded with zeros (after normalising) at right and bottom to a multiple of this."""

    def __post_init__(self) -> None:
        require(len(self.mean) == len(self.std) == self.channels, "mean", "needs one value per channel, as std does")
        require(all(std > 0 for std in self.std), "std", "must be positive")
        fixed = {"rgb": 3, "gray": 1}.get(self.color, self.channels)
        require(self.channels == fixed, "channels", f"must be {fixed} where color is {self.color}")
        require(self.bit_depth in (8, 16), "bit_depth", "must be 8 or 16")
        _check_sizes(self.short_side, self.max_side)
        require(self.multiple > 0, "multiple", "must be positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleFile:
    """One file of the bundle; `path` is relative to the manifest."""

    path: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        parts = self.path.split("/")
        inside = all(parts) and ".." not in parts and "\0" not in self.path
        require(inside, "path", "must lie in the bundle's folder")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """The proof that a file holds the network it came from.

    `features`: the library of the format ran the file. `keys`: that library is not here, so the file's names and shapes
    were held against its table of them, and the tensors, read back as an import reads them, ran in our own network.
    """

    proof: Literal["features", "keys"] = "features"
    library: str = ""
    """What ran the file, with its version, or whose table it is."""
    relative_error: float
    """Of the features against torch's: largest absolute difference over the largest absolute value."""
    tolerance: float
    images: tuple[tuple[int, int], ...]
    """Heights and widths compared, in pixels."""
    keys: int | None = None
    """Names and shapes that were held against the table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """Where the weights come from; all optional, since a person may export by hand."""

    run: str | None = None
    checkpoint: str | None = None
    step: int | None = None
    weights: str | None = None
    dataset: str | None = None
    dataset_digest: str | None = None
    config_digest: str | None = None
    method: str | None = None
    licenses: dict[str, str] = field(default_factory=dict)
    """Of every data set and all weights on the way here (`data set photos@1`, `weights official`); empty where none was
    named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The whole manifest."""

    format: int = FORMAT
    architecture: str
    """torchvision's name, e.g. `resnet18`, or `timm/NAME`."""
    weights_digest: str
    """`sha256:...` of the backbone's tensors (`detco_core.nets.weights.state_digest`): equal weights, equal digest."""
    levels: tuple[Level, ...]
    pooled: int
    """Width of the ONNX output `pooled`: the last level, averaged over space, `[N, pooled]`."""
    input: InputSpec
    files: dict[str, BundleFile]
    """By format: `onnx`, `torchvision`, ...; and what goes with them: `advice`, `detectron2_fpn`, ..."""
    parity: dict[str, Parity]
    """By format."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Formats that were asked for and that the architecture has no equivalent in: why."""
    advice: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By format: what makes the weights work in that library, one sentence each; also as the file `advice`."""
    lineage: Lineage = field(default_factory=Lineage)
    license: str | None = None
    created_at: str = ""
    """ISO 8601, UTC."""
    created_by: str = ""
    software: dict[str, str] = field(default_factory=dict)
    """Versions of what wrote it."""

    def __post_init__(self) -> None:
        require(self.format == FORMAT, "format", f"is {self.format}; this version reads {FORMAT}: upgrade detco")
        require(bool(self.levels), "levels", "must not be empty")
        require("onnx" in self.files, "files", "must hold onnx")

    def level(self, name: str) -> Level:
        """The level of that name; raises `BundleError` listing the names there are."""
        for level in self.levels:
            if level.name == name:
                return level
        raise BundleError(f"unknown level {name!r}; this model has {', '.join(level.name for level in self.levels)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportReport:
    """The report of an export job; the bundle's files are artifacts `bundle/...`."""

    manifest: dict[str, Any]


def read_manifest(bundle: Path) -> Manifest:
    """Read `manifest.json` of a bundle folder; raises `BundleError` naming what is wrong."""
    path = bundle / MANIFEST_FILE
    try:
        return read(Manifest, json.loads(path.read_text("utf-8")), str(path))
    except FileNotFoundError as error:
        raise BundleError(f"no {MANIFEST_FILE} in {bundle}: not a bundle, or one that was not finished") from error
    except (OSError, ValueError, InvalidDocument) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
