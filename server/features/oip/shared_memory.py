"""System shared memory: tensors that stay on the host, between this server and clients that share its `/dev/shm`.

Off by default. A region is a POSIX shared memory object a client made; here it is opened and held to its real size.
It is read and written by system calls, not mapped: a client that shortens its object under a mapping would end this
process with SIGBUS, and a request needs a copy of what it reads in any case.
"""

import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server.features.errors import BadTensor
from server.features.oip.requests import Region

FOLDER = Path("/dev/shm")  # noqa: S108 - where Linux keeps shared memory objects
MAX_REGIONS = 1000
_KEY = re.compile(r"/?[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_FORBIDDEN = ("torch", "sem.", "onnx", "detco")
"""Beginnings of names that are others' own: torch's loaders, semaphores, ours."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One registered region."""

    name: str
    key: str
    offset: int
    size: int
    file: int
    """Descriptor."""


class SharedMemory:
    """The regions of one server."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._regions: dict[str, Registered] = {}
        self._lock = threading.Lock()

    def register(self, name: str, key: object, offset: object, size: object) -> None:
        """Map `size` bytes from `offset` of the object `key`.

        Raises:
            BadTensor: a name, place or size that cannot be, or one that is registered already.
        """
        if not isinstance(key, str) or not _KEY.fullmatch(key) or key.lstrip("/").lower().startswith(_FORBIDDEN):
            raise BadTensor(f"region {name[:100]}: its key is not the name of a client's shared memory object")
        if type(offset) is not int or type(size) is not int or offset < 0 or size <= 0:
            raise BadTensor(f"region {name[:100]}: offset and byte_size must be whole numbers, and byte_size positive")
        with self._lock:
            if name in self._regions or len(self._regions) >= MAX_REGIONS:
                why = "is registered already" if name in self._regions else f"would be more than {MAX_REGIONS}"
                raise BadTensor(f"region {name[:100]} {why}: unregister it first")
            file = self._open(name, key, offset + size)
            self._regions[name] = Registered(name, key, offset, size, file)

    def unregister(self, name: str | None) -> None:
        """Forget a region, or all of them; one that is not there is no error."""
        with self._lock:
            names = list(self._regions) if name is None else [name]
            for region in [self._regions.pop(known) for known in names if known in self._regions]:
                os.close(region.file)

    def status(self, name: str | None) -> list[dict[str, object]]:
        """The regions there are, or the one of that name; raises `BadTensor` when it is not."""
        with self._lock:
            found = list(self._regions.values()) if name is None else [self._get(name)]
        return [{"name": r.name, "key": r.key, "offset": r.offset, "byte_size": r.size} for r in found]

    def read(self, region: Region) -> memoryview:
        """A copy of what a region's place holds.

        Raises:
            BadTensor: there is no such region or place, or the client has shortened its object.
        """
        with self._place(region) as (file, start):
            data = os.pread(file, region.size, start)
        if len(data) < region.size:
            raise BadTensor(f"region {region.name[:100]}: its shared memory object has become shorter")
        return memoryview(data)

    def write(self, region: Region, data: memoryview) -> None:
        """Put `data` at a region's place; raises as `read`, and when it does not fit."""
        if len(data) > region.size:
            message = f"the output has {len(data)} bytes, more than the {region.size} of region {region.name[:100]}"
            raise BadTensor(message)
        with self._place(region) as (file, start):
            if os.fstat(file).st_size < start + len(data):
                raise BadTensor(f"region {region.name[:100]}: its shared memory object has become shorter")
            written = 0
            while written < len(data):
                written += os.pwrite(file, data[written:], start + written)

    @contextmanager
    def _place(self, region: Region) -> Iterator[tuple[int, int]]:
        """A descriptor of the region's own, so that it may be unregistered meanwhile, and the first byte in it."""
        with self._lock:
            registered = self._get(region.name)
            end = region.offset + region.size
            if end > registered.size:
                message = f"{region.size} bytes from {region.offset} on are outside its {registered.size}"
                raise BadTensor(f"region {region.name[:100]}: {message}")
            file = os.dup(registered.file)
        try:
            yield file, registered.offset + region.offset
        finally:
            os.close(file)

    def _get(self, name: str) -> Registered:
        if name not in self._regions:
            raise BadTensor(f"there is no shared memory region {name[:100]!r}: register it first")
        return self._regions[name]

    def _open(self, name: str, key: str, size: int) -> int:
        try:
            file = os.open(self._folder / key.lstrip("/"), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise BadTensor(f"region {name[:100]}: its shared memory object cannot be opened") from error
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_size < size:
            os.close(file)
            raise BadTensor(f"region {name[:100]}: the shared memory object has fewer than {size} bytes")
        return file
