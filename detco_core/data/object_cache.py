"""Copies of objects on this host, shared by all processes that read them, bounded: those unused longest go first."""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile

from detco_core.contract.datasets import ObjectCache

HALF = ".new"
"""Folder of a root's copies in which those lie that are being brought; none of them is thrown out."""
ROOM = ".lock"
"""Locked by whoever makes room in a cache."""
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
                with locked(self._folder / ROOM, wait=False) as alone:
                    if alone:  # else another sees to it
                        make_room(self._folder, self._most - self._most // _SHARE)

    def _path(self, name: str) -> Path:
        return place_of(self._own, name)


def place_of(own: Path, name: str) -> Path:
    """Where a copy lies in the folder of its root."""
    key = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return own / key[:2] / key


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a file, which the kernel gives back however its holder ends; False when it may not be waited for
    and another holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            alone = True
        except BlockingIOError:
            alone = False
        yield alone


def make_room(folder: Path, most: int) -> None:
    """Remove copies until at most so many bytes are left, those unused longest first; to be called under `ROOM`."""
    found = sorted((*facts, path) for path in folder.glob("*/*/*") if (facts := _facts(path)))
    total = sum(size for _, size, _ in found)
    for _, size, path in found:
        if total <= most:
            return
        if path.parent.name != HALF:
            remove(path)
            total -= size


def remove(path: Path) -> None:
    """Remove a copy, a file or a folder; a folder that is there is whole."""
    if path.is_dir():
        shutil.rmtree(path.rename(path.with_name(f".{path.name}")))
    else:
        path.unlink(missing_ok=True)


def _facts(path: Path) -> tuple[int, int] | None:
    """When it was used last, and its bytes; None when it went away."""
    try:
        files = path.iterdir() if path.is_dir() else [path]
        return path.stat().st_mtime_ns, sum(file.stat().st_size for file in files)
    except OSError:
        return None
