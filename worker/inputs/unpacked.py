"""Uploaded archives of data sets, unpacked once on each host: read from there by every run, forgotten when unused.

A folder is locked as long as anybody reads it, so that making room takes none away from under a run; the kernel gives
the lock back however a reader ends.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import mkdtemp

from control.errors import ArtifactMissing, BadArchive, DigestMismatch
from control.settings import Settings
from control.storage.archives import unpack
from detco_core.contract.datasets import ObjectCache
from detco_core.contract.errors import DataError

Place = Callable[[Path, str], None]
"""Puts the artifact of a digest at a path, verified: `Cache.place`, or a fetch from the store."""

_HALF_DONE_SECONDS = 24 * 3600.0
"""After this long a folder that is half made or half removed is nobody's any more."""
_LOCK, _SIZE = ".lock", ".bytes"


class Unpacked:
    """The archives of a host that lie unpacked below `folder`/unpacked, at most `data_cache_bytes` of them."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder = folder / "unpacked"
        self._most = settings.data_cache_bytes
        self._most_unpacked = settings.max_unpacked_bytes
        self._locks: list[int] = []

    def __del__(self) -> None:
        for lock in self._locks:
            os.close(lock)

    def folder_of(self, digest: str) -> Path:
        """Where the files of an archive lie, once it was brought."""
        return self._folder / digest.removeprefix("sha256:")

    @property
    def objects(self) -> ObjectCache:
        """Where jobs of this host keep what they read from S3."""
        return ObjectCache(folder=str(self._folder.with_name("objects")), max_bytes=self._most)

    def forget_objects(self, roots: Iterable[str]) -> None:
        """Remove what lies here of roots in S3 other than these: their data sets were deleted."""
        known = {ObjectCache.name_of(root) for root in roots}
        for folder in Path(self.objects.folder).glob("*"):
            if folder.is_dir() and folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)

    def bring(self, digest: str, place: Place) -> None:
        """See that an archive lies unpacked here, and that it stays as long as this object.

        Raises:
            DataError: it cannot be had from the store, or is none.
            StoreError: the store is away; try again.
        """
        folder = self.folder_of(digest)
        lock = self._lock(folder)
        while True:
            fcntl.flock(lock, fcntl.LOCK_SH)
            if folder.is_dir():
                break
            # The lock is let go of between the two: whoever comes first makes it, and it may be forgotten again.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                self._make(folder, digest, place)
        os.utime(_beside(folder, _LOCK))  # its time of change is its time of use
        self._make_room()

    def forget(self, digest: str) -> int:
        """Remove an archive's files unless somebody reads them; the bytes freed."""
        folder = self.folder_of(digest)
        lock = os.open(_beside(folder, _LOCK), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            freed = _size(folder)
            # Renamed first: what is half removed is not found.
            if folder.is_dir():
                shutil.rmtree(folder.rename(mkdtemp(dir=self._folder, prefix=".old-")))
            _beside(folder, _SIZE).unlink(missing_ok=True)
        except BlockingIOError:
            return 0
        finally:
            os.close(lock)
        return freed

    def kept(self) -> list[str]:
        """Digests of the archives that lie here, that used longest ago first."""
        folders = (path for path in self._folder.glob("*") if path.is_dir() and not path.name.startswith("."))
        return [path.name for path in sorted(folders, key=lambda path: _beside(path, _LOCK).stat().st_mtime_ns)]

    def _lock(self, folder: Path) -> int:
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(_beside(folder, _LOCK), os.O_RDWR | os.O_CREAT, 0o600)
        self._locks.append(lock)
        return lock

    def _make(self, folder: Path, digest: str, place: Place) -> None:
        """Fetch and unpack beside it, then rename: a folder that is there is whole."""
        work = Path(mkdtemp(dir=self._folder, prefix=".new-"))
        try:
            archive, files = work / "archive", work / "files"
            files.mkdir()
            place(archive, digest)
            unpack(archive, files, self._most_unpacked)
            _beside(folder, _SIZE).write_text(str(sum(path.lstat().st_size for path in files.rglob("*"))))
            files.rename(folder)
        except (ArtifactMissing, DigestMismatch, BadArchive) as error:
            raise DataError(f"the uploaded archive {digest} cannot be read: {error}") from error
        finally:
            shutil.rmtree(work)

    def _make_room(self) -> None:
        for left in self._folder.glob(".[no][el][wd]-*"):
            if left.stat().st_mtime < time.time() - _HALF_DONE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        kept = self.kept()
        total = sum(_size(self._folder / name) for name in kept)
        for name in kept:
            if total <= self._most:
                return
            total -= self.forget(name)


def _beside(folder: Path, ending: str) -> Path:
    return folder.with_name(f".{folder.name}{ending}")


def _size(folder: Path) -> int:
    try:
        return int(_beside(folder, _SIZE).read_text())
    except (OSError, ValueError):
        return 0
