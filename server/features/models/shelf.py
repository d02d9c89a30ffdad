"""Bundles kept on this machine, and an index of what was served last: enough to serve again with everything else down.

`DATA_DIR/serving/bundles/VERSION_ID/` holds a manifest and an ONNX file; `DATA_DIR/serving/index.json` the aliases.
"""

import json
import logging
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from detco_core.contract.errors import BundleError, InvalidDocument
from detco_core.contract.manifest import MANIFEST_FILE
from detco_core.contract.reader import plain, read
from server.features.models.catalog import VersionRef
from server.features.models.in_use import Use, remove_unused

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

    def bring(self, version: VersionRef, fetch: Callable[[VersionRef, Path], None], *, anew: bool = False) -> Use:
        """The use of a version's bundle, fetched if it is not here; `anew`: replaced, should the fetch succeed.

        No process of this machine removes the bundle before the use is ended.
        """
        target = self._bundles / version.id
        if not anew and (use := Use.begin(target)) is not None:
            return use
        try:
            self._bundles.mkdir(parents=True, exist_ok=True)
            return self._fetch(version, fetch, target, anew=anew)
        except OSError as error:
            if error.errno is None or error.filename is not None:
                raise
            # A disk that is full does not say which.
            raise OSError(error.errno, error.strerror, str(self._bundles)) from error

    def _fetch(
        self, version: VersionRef, fetch: Callable[[VersionRef, Path], None], target: Path, *, anew: bool
    ) -> Use:
        temporary = Path(tempfile.mkdtemp(prefix=".", dir=self._bundles))
        try:
            fetch(version, temporary)
            for path in (*temporary.iterdir(), temporary):
                _sync(path)
            return _placed(temporary, target, anew=anew)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def ids(self) -> list[str]:
        """Ids of the versions whose bundles are here."""
        folders = self._bundles.iterdir() if self._bundles.is_dir() else ()
        return [folder.name for folder in folders if not folder.name.startswith(".")]

    def discard(self, ids: Collection[str]) -> set[str]:
        """Remove the bundles of these versions; returns those that stay, since somebody uses them."""
        return {name for name in ids if not remove_unused(self._bundles / name)}

    def prune(self, keep: Collection[VersionRef]) -> None:
        """Remove every bundle but these and those in use, and what fetches that were cut off have left."""
        names = {version.id for version in keep}
        for folder in self._bundles.iterdir() if self._bundles.is_dir() else ():
            if not folder.name.startswith("."):
                if folder.name not in names:
                    remove_unused(folder)
                continue
            with suppress(FileNotFoundError):  # another process has brought, or removed, what was in it
                if time.time() - folder.stat().st_mtime >= _LONGEST_FETCH:
                    shutil.rmtree(folder, ignore_errors=True)

    def write_index(self, index: Index) -> None:
        """Replace the index; a reader sees the old one or the new one."""
        self.root.mkdir(parents=True, exist_ok=True)
        # Processes in containers of their own may have one number.
        temporary = self._index.with_name(f"{self._index.name}.{secrets.token_hex(4)}.tmp")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(plain(index), file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._index)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            raise
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


def _placed(fetched: Path, target: Path, *, anew: bool) -> Use:
    """Move what was fetched to its place, in use from the first moment on."""
    if (there := Use.begin(target)) is not None:
        # By now another process has brought it, or it is to be mended; what a version names never changes.
        if anew:
            _mend(fetched, target)
        return there
    remove_unused(target)
    use = Use.begin(fetched)
    if use is None:
        raise BundleError(f"{target.name} was fetched without {MANIFEST_FILE}")
    try:
        use.move(target)
    except OSError:
        use.end()
        if (there := Use.begin(target)) is None:
            raise
        return there
    _sync(target.parent)
    return use


def _mend(fetched: Path, target: Path) -> None:
    """Replace a bundle's files under those who use it, and drop what was made of the old ones."""
    made = {path.name for path in target.iterdir()} - {path.name for path in fetched.iterdir()}
    for path in fetched.iterdir():
        if path.name == MANIFEST_FILE:
            shutil.copyfile(path, target / path.name)  # in its place: those who use the bundle have it locked
        else:
            path.replace(target / path.name)
    for name in made:
        shutil.rmtree(target / name, ignore_errors=True)
    _sync(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
