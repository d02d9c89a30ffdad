"""Copies of objects on this host, shared by all processes that read them, bounded: those unused longest go first."""

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from detco_core.contract.datasets import ObjectCache

_SHARE = 32
"""A process looks for room each time it has added this part of the bound."""
_added: dict[str, int] = {}
"""Bytes this process has put into each cache since it last looked for room."""


class Kept:
    """The copies of one root in a cache of about `max_bytes`: each process may be a thirty-second above it before it
    makes room.
    """

    def __init__(self, cache: ObjectCache, root: str) -> None:
        self._folder = Path(cache.folder)
        self._own = self._folder / ObjectCache.name_of(root)
        self._most = cache.max_bytes

    def get(self, name: str) -> bytes | None:
        """What was put under this name; None when it is not there, or damaged."""
        path = self._path(name)
        try:
            data = path.read_bytes()
            os.utime(path)  # its time of change is its time of use
        except OSError:
            return None
        digest, content = data[:32], data[32:]
        return content if hashlib.sha256(content).digest() == digest else None

    def put(self, name: str, data: bytes) -> None:
        """Keep it; a disk that is full or away costs the copy, not the reader."""
        path = self._path(name)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
                file.write(hashlib.sha256(data).digest() + data)
            Path(file.name).replace(path)
            folder = str(self._folder)
            _added[folder] = _added.get(folder, self._most) + len(data)
            if _added[folder] >= self._most // _SHARE:
                _added[folder] = 0
                self._make_room()

    def _path(self, name: str) -> Path:
        key = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
        return self._own / key[:2] / key

    def _make_room(self) -> None:
        with (self._folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # another sees to it
            found = sorted(
                (s.st_mtime_ns, s.st_size, path) for path in self._folder.glob("*/*/*") if (s := _stat(path))
            )
            total = sum(size for _, size, _ in found)
            for _, size, path in found:
                if total <= self._most - self._most // _SHARE:
                    return
                path.unlink(missing_ok=True)
                total -= size


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
