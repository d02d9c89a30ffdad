"""What an extraction says at its end."""

from dataclasses import dataclass

from detco_core.contract.extractions.files import StoredFile


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokenImage:
    """An image without features."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractionReport:
    """The result of an extraction; its files are artifacts `features/...`."""

    images: int
    """Of which features were asked."""
    broken: int
    broken_images: tuple[BrokenImage, ...]
    """The first hundred; all are in the index parts."""
    shards: int
    bytes: int
    """Of all shards."""
    index: StoredFile
    weights_digest: str
    dataset: str
    dataset_digest: str | None
    provider: str
    """onnxruntime's, of the attempt that ended it."""
