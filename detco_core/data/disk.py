"""Data sets on the disks of this machine, read where they lie."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from detco_core.contract.datasets import IMAGE_SUFFIXES, DatasetFile
from detco_core.contract.errors import DataError
from detco_core.data.file_table import Member
from detco_core.data.locations import Allowed, Follow
from detco_core.data.sources import Bytes, Lost, as_text, excluded, unnamed
from detco_core.data.spill import BrokenFiles, in_order

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Disk:
    """A folder or file of this machine (`Location`)."""

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    @property
    def name(self) -> str:
        return self.root.name

    def is_there(self) -> bool:
        return self.root.exists()

    def is_file(self) -> bool:
        return self.root.is_file()

    def has_file(self, path: str) -> bool:
        return (self.root / path).is_file()

    def has_folder(self, path: str) -> bool:
        return (self.root / path).is_dir()

    @contextmanager
    def text(self, path: str = "") -> Iterator[BinaryIO]:
        file = self.root / path
        try:
            with file.open("rb") as lines:
                yield lines
        except OSError as error:
            raise DataError(f"{file} cannot be read: {error.strerror}") from error

    def images(self, exclude: Sequence[str], unusable: BrokenFiles) -> Iterator[DatasetFile]:
        """Hidden files and folders are left out, so are links to folders and to files outside the root."""
        walk = _Walk(str(self.root.resolve()), exclude, unusable)
        try:
            walk.enter("")
        except OSError as error:
            raise DataError(f"{self.root} cannot be read: {error.strerror}") from error
        return map(unnamed, walk.paths())

    def open(self, member: Member) -> Bytes:
        return file_at(f"{self.root}/{member.path}", member, (os.path.realpath(self.root),))

    def follower(self, allowed: Allowed) -> Follow:
        base = self.root.parent.resolve()
        roots = None if allowed is None else tuple(dict.fromkeys((str(base), *allowed)))

        def follow(line: str) -> tuple[str, str | None]:
            try:
                return _follow(line, base, roots)
            except (
                OSError,
                RuntimeError,
            ) as error:  # a name too long, a folder that may not be entered, a loop of links
                return "", f"{line[:200]!r} cannot be followed: {error}"

        return follow

    def look_up(self, named: Iterable[tuple[str, int]]) -> Iterator[tuple[int, DatasetFile | str]]:
        return ((line, unnamed(path)) for path, line in named)  # following them has looked already

    def open_named(self, member: Member, allowed: Allowed) -> Bytes:
        base = self.root.parent
        roots = None if allowed is None else (os.path.realpath(base), *allowed)
        return file_at(str(base / member.path), member, roots)

    def names(self, suffix: str) -> list[str]:
        if self.root.is_file():
            return [self.root.name]
        try:
            names = [entry.name for entry in os.scandir(self.root) if entry.name.lower().endswith(suffix)]
        except OSError as error:
            raise DataError(f"{self.root} cannot be read: {error.strerror}") from error
        real = self.root.resolve()
        return list(files_in(str(real), names, real, (suffix,)))

    def container(self, name: str) -> str:
        return name

    def name_of(self, container: str | None) -> str | None:
        return container

    def using(self, container: str, use: Callable[[Path], T]) -> T:
        base = self.root.parent if self.root.is_file() else self.root
        try:
            return use(base / container)
        except OSError as error:
            raise Lost(f"{container}: {error.strerror}") from error


def _follow(line: str, base: Path, roots: Allowed) -> tuple[str, str | None]:
    named, real = Path(os.path.normpath(base / line)), (base / line).resolve()
    if roots is not None and not any(real.is_relative_to(root) for root in roots):
        return "", f"{line!r} is outside the folders that data may lie in: {', '.join(roots)}"
    if not real.is_file():
        return "", f"there is no file {line!r}"
    # A link inside the folder keeps its own name.
    named = named if named.is_relative_to(base) else real
    path = str(named.relative_to(base) if named.is_relative_to(base) else named)
    return (path, None) if path == as_text(path) else ("", f"{line!r} leads to a name that is not UTF-8")


class _Walk:
    """Goes through a folder in the order of the paths in it; of a folder with millions of files most names wait on
    disk.
    """

    def __init__(self, root: str, exclude: Sequence[str], unusable: BrokenFiles) -> None:
        self._root = root
        self._real = Path(root)
        self._exclude = exclude
        self._unusable = unusable
        self._open: list[Iterator[tuple[str, bool]]] = []
        """The folders that are under way, each with what it holds: `NAME/` and True for a folder in it."""

    def enter(self, folder: str) -> None:
        """Go on with a folder, relative and ending in a slash; raises `OSError` when it cannot be read."""
        # A folder sorts as what is in it does: by its name and a slash.
        with os.scandir(f"{self._root}/{folder}") as entries:
            self._open.append(in_order((folder + name, name.endswith("/")) for name in map(_name, entries)))

    def paths(self) -> Iterator[str]:
        while self._open:
            found = next(self._open[-1], None)
            if found is None:
                self._open.pop()
            elif found[1]:
                self._descend(found[0])
            elif self._is_wanted(found[0]):
                yield found[0]

    def _descend(self, folder: str) -> None:
        name = folder[:-1]
        if name.rpartition("/")[2].startswith(".") or Path(self._root, name).is_symlink():
            return
        try:
            self.enter(folder)
        except OSError as error:
            self._unusable.append(as_text(name), str(error.strerror))

    def _is_wanted(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        if not any(True for _ in files_in(f"{self._root}/{folder}", [name], self._real, IMAGE_SUFFIXES)):
            return False
        if excluded(path, self._exclude):
            return False
        if path != as_text(path):
            self._unusable.append(as_text(path), "the file name is not UTF-8: rename it")
            return False
        return True


def _name(entry: "os.DirEntry[str]") -> str:
    try:
        return f"{entry.name}/" if entry.is_dir() else entry.name
    except OSError:  # a loop of links
        return entry.name


def file_at(path: str, member: Member, roots: Sequence[str] | None) -> str:
    """`path`, if what lies there now may be read: a file below one of the `roots` (None: anywhere), links followed, of
    as many bytes as the scan saw.

    Raises:
        DataError: with the reason alone.
    """
    real = os.path.realpath(path)
    if roots is not None and not any(f"{real}/".startswith(f"{root.rstrip('/')}/") for root in roots):
        raise DataError("it leads out of the data set's root")
    try:
        found = Path(real).stat()
    except OSError as error:
        raise DataError(error.strerror or str(error)) from error
    if not stat.S_ISREG(found.st_mode):
        raise DataError("it is not a file")
    if member.bytes and found.st_size != member.bytes:
        raise DataError(f"it has {found.st_size} bytes, and had {member.bytes} when it was scanned")
    return path


def files_in(folder: str, names: Sequence[str], root: Path, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Relative paths of those `names` in `folder` that end in one of `suffixes` and do not lead out of `root`."""
    for name in names:
        if name.startswith(".") or Path(name).suffix.lower() not in suffixes:
            continue
        path = Path(folder, name)
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            continue
        yield path.relative_to(root).as_posix()
