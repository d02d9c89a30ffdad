"""What is sent of a file or folder: bytes that are the same each time, so that sending them can be taken up again."""

import hashlib
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from detco_client.errors import ClientError

CHUNK = 1 << 20
Chunks = Iterator[bytes]


class Parcel(NamedTuple):
    """Bytes to send, announced."""

    path: Path
    bytes: int
    sha256: str

    def chunks(self, start: int = 0) -> "Chunks":
        """The bytes from `start` on; raises `ClientError` when the files are not what they were."""
        return _file(self.path, start) if self.path.is_file() else _skip(_tar(self.path), start)


def pack(path: Path) -> Parcel:
    """Look through a file, or a folder that is sent as a tar: its files, sorted, without owners and times.

    Hidden files and links are left out. Raises `ClientError` when something cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    for chunk in Parcel(path, 0, "").chunks():
        digest.update(chunk)
        size += len(chunk)
    return Parcel(path, size, digest.hexdigest())


def _file(path: Path, start: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(start)
            yield from iter(lambda: file.read(CHUNK), b"")
    except OSError as error:
        raise ClientError(f"cannot read {path}: {error.strerror or error}") from error


def _tar(folder: Path) -> Iterator[bytes]:
    for path in _files(folder):
        info = tarfile.TarInfo(path.relative_to(folder).as_posix())
        left = info.size = path.stat().st_size
        yield info.tobuf(tarfile.PAX_FORMAT)
        for chunk in _file(path, 0):
            left -= len(chunk)
            yield chunk
        if left:
            raise ClientError(f"{path} changed while it was read: send the folder again when it is at rest")
        yield bytes(-info.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise ClientError(f"there is no file or folder {folder}")
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(here, name) for name in sorted(names) if not name.startswith(".")):
            if path.is_file() and not path.is_symlink():
                yield path


def _skip(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    for chunk in chunks:
        if count < len(chunk):
            yield chunk[count:]
        count = max(0, count - len(chunk))
