"""The seam to whoever knows which versions are to be served, and a small real one for tests."""

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from detco_core.contract.manifest import MANIFEST_FILE, read_manifest


@dataclass(frozen=True, slots=True)
class VersionRef:
    """One version of a model; what it names never changes."""

    id: str
    """Never given twice, also when a model is deleted and its name used again. Fit for a file name."""
    model: str
    number: int
    digest: str
    """Of the weights."""

    def __str__(self) -> str:
        return f"{self.model}:{self.number}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a server should have loaded and warm."""

    aliases: Mapping[str, VersionRef]
    """By `name@alias`."""
    pinned: frozenset[VersionRef] = frozenset()
    deleted: frozenset[str] = frozenset()
    """Ids, among those it holds, of the versions that were deleted."""


class Catalog(Protocol):
    """Knows the aliases and gives out bundles. Every method may raise anything while its source is down."""

    def wanted(self, held: Collection[str] = ()) -> Wanted:
        """The aliases and pins as they are now, and which of the version ids `held` are deleted; asked every second."""

    def find(self, model: str, number: int) -> VersionRef | None:
        """A version that is ready, or None."""

    def fetch(self, version: VersionRef, folder: Path) -> None:
        """Put the manifest and the ONNX file of a version into `folder`, which exists and is empty."""


@dataclass(slots=True)
class FolderCatalog:
    """A catalogue of bundle folders on this machine, moved by hand."""

    bundles: dict[VersionRef, Path] = field(default_factory=dict)
    aliases: dict[str, VersionRef] = field(default_factory=dict)
    pinned: set[VersionRef] = field(default_factory=set)
    down: bool = False
    """Every question fails, as when the database is away."""

    def add(self, model: str, number: int, bundle: Path) -> VersionRef:
        """Make a bundle known as `model:number`."""
        digest = read_manifest(bundle).weights_digest
        version = VersionRef(f"{model}-{number}-{digest[-12:]}", model, number, digest)
        self.bundles[version] = bundle
        return version

    def wanted(self, held: Collection[str] = ()) -> Wanted:
        self._answer()
        deleted = frozenset(held) - {version.id for version in self.bundles}
        return Wanted(dict(self.aliases), frozenset(self.pinned), deleted)

    def find(self, model: str, number: int) -> VersionRef | None:
        self._answer()
        return next((v for v in self.bundles if (v.model, v.number) == (model, number)), None)

    def fetch(self, version: VersionRef, folder: Path) -> None:
        self._answer()
        bundle = self.bundles[version]
        for name in (MANIFEST_FILE, read_manifest(bundle).files["onnx"].path):
            shutil.copyfile(bundle / name, folder / name)

    def _answer(self) -> None:
        if self.down:
            raise ConnectionError("the catalogue is down")
