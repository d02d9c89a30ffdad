"""A bounded cache of artifacts on this host, by digest, in front of a store."""

import os
import shutil
from pathlib import Path

from control.errors import DigestMismatch
from control.storage.base import Store, key_of, verify


class Cache:
    """Fetches each artifact once, and forgets those unused longest when it holds more than `max_bytes`."""

    def __init__(self, folder: Path, max_bytes: int, store: Store) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.store = store

    def place(self, dest: Path, sha256: str) -> None:
        """Put the artifact at `dest`, verified: a hard link where the disk allows, so that forgetting it is harmless.

        The file must not be written to. Raises as `Store.fetch`.
        """
        cached = self.get(sha256)
        dest.parent.mkdir(parents=True, exist_ok=True)
        temporary = dest.with_name(f".{dest.name}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        try:
            os.link(cached, temporary)
        except OSError:
            shutil.copyfile(cached, temporary)
        temporary.replace(dest)
        # A rename onto another link of the same file does nothing at all, and leaves both names.
        temporary.unlink(missing_ok=True)

    def get(self, sha256: str) -> Path:
        """The artifact's own file in the cache, verified; it may be forgotten at any time, but stays what it is.

        Raises as `Store.fetch`.
        """
        cached = self.folder / key_of(sha256)
        try:
            verify(cached, sha256)
        except (FileNotFoundError, DigestMismatch):
            self.store.fetch(key_of(sha256), cached, sha256)
        os.utime(cached)  # Its time of change is its time of use.
        self._evict(keep=cached)
        return cached

    def _evict(self, keep: Path) -> None:
        files = sorted((path.stat().st_mtime_ns, path.stat().st_size, path) for path in self._files())
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= self.max_bytes:
                return
            if path != keep:
                path.unlink(missing_ok=True)
                total -= size

    def _files(self) -> list[Path]:
        return [path for path in self.folder.glob("sha256/*/*") if not path.name.startswith(".")]
