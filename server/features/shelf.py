"""Bundles kept on this machine, and an index of what was served last: enough to serve again with everything else down.

`DATA_DIR/serving/bundles/VERSION_ID/` holds a manifest and an ONNX file; `DATA_DIR/serving/index.json` the aliases.
"""

import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from detco_core.contract.errors import InvalidDocument
from detco_core.contract.reader import plain, read
from server.features.catalog import VersionRef

log = logging.getLogger(__name__)

_LONGEST_FETCH = 3600.0
"""Seconds after which an unfinished bundle belongs to nobody."""


@dataclass(frozen=True, slots=True)
class Index:
    """The last good state of this server."""

    aliases: Mapping[str, VersionRef] = field(default_factory=dict)
    """By `name@alias`."""
    pinned: tuple[VersionRef, ...] = ()
    format: int = 1


class Shelf:
    """The folder of one server process, or of several of one machine that serve the same records."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def bring(self, version: VersionRef, fetch: Callable[[VersionRef, Path], None], *, anew: bool = False) -> Path:
        """The bundle folder of a version, fetched if it is not here; `anew`: replaced, should the fetch succeed."""
        target = self._folder(version)
        if target.is_dir() and not anew:
            return target
        try:
            self._bundles.mkdir(parents=True, exist_ok=True)
            self._fetch(version, fetch, target, anew)
        except OSError as error:
            if error.errno is None or error.filename is not None:
                raise
            # A disk that is full does not say which.
            raise OSError(error.errno, error.strerror, str(self._bundles)) from error
        return target

    def _fetch(self, version: VersionRef, fetch: Callable[[VersionRef, Path], None], target: Path, anew: bool) -> None:
        temporary = Path(tempfile.mkdtemp(prefix=".", dir=self._bundles))
        try:
            fetch(version, temporary)
            for path in (*temporary.iterdir(), temporary):
                _sync(path)
            if anew:
                shutil.rmtree(target, ignore_errors=True)
            _rename(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def ids(self) -> list[str]:
        """Ids of the versions whose bundles are here."""
        folders = self._bundles.iterdir() if self._bundles.is_dir() else ()
        return [folder.name for folder in folders if not folder.name.startswith(".")]

    def discard(self, ids: Collection[str]) -> None:
        """Remove the bundles of these versions; those that are not here are no error."""
        for name in ids:
            shutil.rmtree(self._bundles / name, ignore_errors=True)

    def prune(self, keep: Collection[VersionRef]) -> None:
        """Remove every bundle but these, and what fetches that were cut off have left."""
        names = {version.id for version in keep}
        for folder in self._bundles.iterdir() if self._bundles.is_dir() else ():
            fetching = folder.name.startswith(".") and time.time() - folder.stat().st_mtime < _LONGEST_FETCH
            if folder.name not in names and not fetching:
                shutil.rmtree(folder, ignore_errors=True)

    def write_index(self, index: Index) -> None:
        """Replace the index; a reader sees the old one or the new one."""
        self.root.mkdir(parents=True, exist_ok=True)
        temporary = self._index.with_name(f"{self._index.name}.{os.getpid()}.tmp")
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(plain(index), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._index)
        _sync(self.root)

    def read_index(self) -> Index:
        """The last index; an empty one when there is none, or none that can be read."""
        try:
            return read(Index, json.loads(self._index.read_text("utf-8")))
        except FileNotFoundError:
            return Index()
        except (OSError, ValueError, InvalidDocument) as error:
            log.warning("%s cannot be read and is ignored: %s", self._index, error)
            return Index()

    @property
    def _bundles(self) -> Path:
        return self.root / "bundles"

    @property
    def _index(self) -> Path:
        return self.root / "index.json"

    def _folder(self, version: VersionRef) -> Path:
        return self._bundles / version.id


def _rename(temporary: Path, target: Path) -> None:
    try:
        temporary.rename(target)
    except OSError:
        # Another process of this machine was faster; what a version names never changes.
        if not target.is_dir():
            raise
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
