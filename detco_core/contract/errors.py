"""Errors of the core, all of them.

::

    DetcoError
    ├── InvalidDocument      a config, job, event or manifest is not what it must be (every fault, with its path)
    ├── DataError            a data set cannot be used as asked: missing, empty, or nothing readable in it
    ├── CheckpointError      a checkpoint is damaged, of another format, or does not fit the run
    ├── WeightsError         a weights file cannot be read as tensors, or holds another network than it should
    ├── NumericsError        training produced NaN or infinity
    ├── OutOfMemory          there was not the memory for what is named
    ├── ExportError          an exported file does not agree with the network it came from
    └── BundleError          a bundle cannot be opened: missing file, wrong digest, unknown level
        └── ImageError       one image cannot be turned into features; its neighbours are unharmed

Each message names the thing and the remedy. `kind` is what the final error event of a job carries.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

ErrorKind = Literal["user", "nan", "out_of_memory", "internal"]


class DetcoError(Exception):
    """Base of every error raised on purpose by `detco_core`."""

    kind: ClassVar[ErrorKind] = "user"


_FAULTS_SAID = 20
"""The most that a message lists; whoever reads more asks `faults`."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a document: `path` is dotted (`train.batch_size`), empty for the document itself."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidDocument(DetcoError):
    """A document has unknown keys, wrong types or values out of range; `faults` lists all of them."""

    def __init__(self, what: str, faults: tuple[Fault, ...]) -> None:
        self.what = what
        self.faults = faults
        more = len(faults) - _FAULTS_SAID
        said = [*map(str, faults[:_FAULTS_SAID]), *([f"and {more} more"] if more > 0 else [])]
        super().__init__(f"{what} is not valid: " + "; ".join(said))


class DataError(DetcoError):
    """A data set cannot be used as asked."""


class CheckpointError(DetcoError):
    """A checkpoint is damaged or does not fit."""


class CheckpointNotSaved(CheckpointError):
    """A checkpoint could not be written: the disk is full or gone, which is no fault of the run."""

    kind = "internal"


class WeightsError(DetcoError):
    """A weights file cannot be read as plain tensors, or holds another network than the one named."""


class NumericsError(DetcoError):
    """Training produced NaN or infinity."""

    kind = "nan"


class OutOfMemory(DetcoError):
    """There was not the memory for what is named, of the machine or of its GPU."""

    kind = "out_of_memory"


class ExportError(DetcoError):
    """An exported file disagrees with the network it came from."""


class BundleError(DetcoError):
    """A bundle cannot be opened or does not hold what was asked of it."""


class ImageError(BundleError):
    """One image cannot be decoded or is outside the limits.

    `code` is a stable word for machines: `unreadable`, `unsupported`, `too_large`, `channels`, `bit_depth`, `boxes`.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)
