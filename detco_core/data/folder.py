"""Image files in a folder at any depth, and image files named by a list."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from detco_core.contract.datasets import IMAGE_SUFFIXES
from detco_core.contract.errors import DataError
from detco_core.data.file_table import Member
from detco_core.data.sources import Bytes, Listing, as_text, excluded, unnamed
from detco_core.data.spill import BrokenFiles, in_order

MAX_LINE = 4096
"""Bytes of a line of a list; longer ones are no path."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The files below a folder whose names say they are images."""

    root: Path

    def listing(self, exclude: Sequence[str] = ()) -> Listing:
        """As `Source`. Hidden files and folders are left out, so are links to folders and to files outside the root."""
        unusable = BrokenFiles()
        walk = _Walk(str(self.root.resolve()), exclude, unusable)
        try:
            walk.enter("")
        except OSError as error:
            raise DataError(f"{self.root} cannot be read: {error.strerror}") from error
        return Listing(map(unnamed, walk.paths()), unusable)

    def open(self, member: Member) -> Bytes:
        return file_at(f"{self.root}/{member.path}", member, (os.path.realpath(self.root),))


@dataclass(frozen=True, slots=True)
class FileList:
    """The files a text names, one a line: relative to the text's folder, or absolute."""

    root: Path
    allowed: tuple[str, ...] | None = None
    """Folders besides the text's own that lines may lead into, links followed; None: anywhere."""

    def listing(self, exclude: Sequence[str] = ()) -> Listing:
        """As `Source`. Empty lines are skipped; a line that names no file it may name is unusable, by its number.

        Whatever a line names is taken for an image, whatever its suffix. Paths are relative to the text's folder, those
        outside it absolute.
        """
        unusable = BrokenFiles()
        named = in_order(self._named(unusable))
        return Listing(map(unnamed, self._once(named, exclude, unusable)), unusable)

    def open(self, member: Member) -> Bytes:
        base = self.root.parent
        roots = None if self.allowed is None else (os.path.realpath(base), *self.allowed)
        return file_at(str(base / member.path), member, roots)

    def _named(self, unusable: BrokenFiles) -> Iterator[tuple[str, int]]:
        """The path and the number of every line that names a file."""
        base = self.root.parent.resolve()
        for number, line in self._lines():
            path, reason = self._path(line, base)
            if reason is None:
                yield path, number
            else:
                unusable.append(f"{self.root.name}:{number}", reason)

    def _once(self, named: Iterator[tuple[str, int]], exclude: Sequence[str], unusable: BrokenFiles) -> Iterator[str]:
        last, first_line = "", 0
        for path, number in named:
            if path == last:
                reason = f"{path} was named by line {first_line} already"
                unusable.append(f"{self.root.name}:{number}", reason)
                continue
            last, first_line = path, number
            if not excluded(path, exclude):
                yield path

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        try:
            with self.root.open("rb") as lines:
                for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE + 1), b""), start=1):
                    if len(line) > MAX_LINE:
                        raise DataError(f"{self.root}, line {number} is longer than {MAX_LINE} bytes: no list of files")
                    if line.strip():
                        yield number, line.rstrip(b"\r\n")
        except OSError as error:
            raise DataError(f"{self.root} cannot be read: {error.strerror}") from error

    def _path(self, line: bytes, base: Path) -> tuple[str, str | None]:
        """The relative path a line names, or why it names none."""
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            return "", "the line is not UTF-8"
        if "\0" in text:
            return "", "the line holds a NUL character"
        try:
            return self._follow(text, base)
        except (OSError, RuntimeError) as error:  # a name too long, a folder that may not be entered, a loop of links
            return "", f"{text[:200]!r} cannot be followed: {error}"

    def _follow(self, text: str, base: Path) -> tuple[str, str | None]:
        named, real = Path(os.path.normpath(base / text)), (base / text).resolve()
        roots = None if self.allowed is None else dict.fromkeys((str(base), *self.allowed))
        if roots is not None and not any(real.is_relative_to(root) for root in roots):
            return "", f"{text!r} is outside the folders that data may lie in: {', '.join(roots)}"
        if not real.is_file():
            return "", f"there is no file {text!r}"
        # A link inside the folder keeps its own name.
        named = named if named.is_relative_to(base) else real
        path = str(named.relative_to(base) if named.is_relative_to(base) else named)
        return (path, None) if path == as_text(path) else ("", f"{text!r} leads to a name that is not UTF-8")


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
