"""Whole shards and folders of rows on this host, brought once for all processes that read them, within the bound of the
cache of objects.

One is brought at a time: two at once would share the same line. So nobody fetches what another is fetching, and room is
made for all of it before its first byte comes. One that is thrown out while it is read stays readable for those that
have it open.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from detco_core.contract.datasets import ObjectCache
from detco_core.contract.errors import DataError
from detco_core.data.object_cache import HALF, ROOM, locked, make_room, place_of, remove

T = TypeVar("T")

_BRINGING = ".bringing"
"""Locked by whoever brings a container into a cache."""


class Part(NamedTuple):
    """One file of a container."""

    name: str
    """In the container; empty: the container is this file."""
    bytes: int
    write: Callable[[BinaryIO], None]
    """Puts its bytes into a file; raises `DataError`."""


class Brought:
    """The containers of one root in a host's cache."""

    def __init__(self, cache: ObjectCache, root: str) -> None:
        self._folder = Path(cache.folder)
        self._own = self._folder / ObjectCache.name_of(root)
        self._most = cache.max_bytes

    def using(self, container: str, parts: Callable[[], Sequence[Part]], use: Callable[[Path], T]) -> T:
        """What `use` makes of a container, which is brought when it is not here; `parts` are asked for only then.

        Raises:
            DataError: `parts`, their writing or `use` raise it, or the container is larger than the cache.
            OSError: the disk is full or away.
        """
        path = place_of(self._own, container)
        try:
            os.utime(path)  # its time of change is its time of use
            return use(path)
        except (OSError, DataError):
            if path.exists():
                raise
        with locked(self._folder / _BRINGING):
            with locked(self._folder / ROOM):
                if path.exists():  # another has brought it
                    return use(path)
            half = self._bring(path.name, parts())
            with locked(self._folder / ROOM):  # nobody makes room until it is in use
                path.parent.mkdir(exist_ok=True)
                half.rename(path)
                return use(path)

    def _bring(self, name: str, parts: Sequence[Part]) -> Path:
        total = sum(part.bytes for part in parts)
        if total > self._most:
            message = f"it has {total} bytes, more than the {self._most} that this host keeps of all it reads from S3"
            raise DataError(f"{message}: raise DETCO_DATA_CACHE_BYTES, or split it")
        half = self._own / HALF / name
        files = [half / part.name if part.name else half for part in parts]
        with locked(self._folder / ROOM):
            for left in self._folder.glob(f"*/{HALF}/*"):  # by a process that was killed: nobody else brings any now
                remove(left)
            make_room(self._folder, self._most - total)
            for part, file in zip(parts, files, strict=True):
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("wb") as out:
                    out.truncate(part.bytes)  # what the room was made for
        try:
            for part, file in zip(parts, files, strict=True):
                with file.open("r+b") as out:
                    part.write(out)
                    out.flush()
                    os.fsync(out.fileno())
        except BaseException:
            remove(half)
            raise
        return half
