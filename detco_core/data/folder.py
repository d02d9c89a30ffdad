"""Image files in a folder at any depth, and image files named by a list."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from detco_core.contract.datasets import IMAGE_SUFFIXES, BrokenFile
from detco_core.contract.errors import DataError
from detco_core.data.file_table import Member
from detco_core.data.sources import Bytes, Listing, as_text, excluded, unnamed

MAX_LINE = 4096
"""Bytes of a line of a list; longer ones are no path."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The files below a folder whose names say they are images."""

    root: Path

    def listing(self, exclude: Sequence[str] = ()) -> Listing:
        """As `Source`. Hidden files and folders are left out, so are links to folders and to files outside the root."""
        paths, unusable = _walk(self.root, exclude)
        return Listing(map(unnamed, sorted(paths)), tuple(sorted(unusable, key=lambda file: file.path)))

    def open(self, member: Member) -> Bytes:
        return f"{self.root}/{member.path}"


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
        first_named: dict[str, int] = {}
        unusable: list[BrokenFile] = []
        for number, line in self._lines():
            path, reason = self._path(line)
            if reason is None and path in first_named:
                reason = f"{path} was named by line {first_named[path]} already"
            if reason is not None:
                unusable.append(BrokenFile(path=f"{self.root.name}:{number}", reason=reason))
            else:
                first_named[path] = number
        paths = sorted(path for path in first_named if not excluded(path, exclude))
        return Listing(map(unnamed, paths), tuple(unusable))

    def open(self, member: Member) -> Bytes:
        return str(self.root.parent / member.path)

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

    def _path(self, line: bytes) -> tuple[str, str | None]:
        """The relative path a line names, or why it names none."""
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            return "", "the line is not UTF-8"
        if "\0" in text:
            return "", "the line holds a NUL character"
        try:
            return self._follow(text)
        except (OSError, RuntimeError) as error:  # a name too long, a folder that may not be entered, a loop of links
            return "", f"{text[:200]!r} cannot be followed: {error}"

    def _follow(self, text: str) -> tuple[str, str | None]:
        base = self.root.parent.resolve()
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


def _walk(root: Path, exclude: Sequence[str]) -> tuple[list[str], list[BrokenFile]]:
    real_root = root.resolve()
    paths: list[str] = []
    unusable: list[BrokenFile] = []

    def note(error: OSError) -> None:
        if error.filename == str(real_root):
            raise DataError(f"{root} cannot be read: {error.strerror}") from error
        folder = Path(error.filename).relative_to(real_root).as_posix()
        unusable.append(BrokenFile(path=as_text(folder), reason=str(error.strerror)))

    for folder, folders, names in os.walk(real_root, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in files_in(folder, names, real_root, IMAGE_SUFFIXES):
            if excluded(path, exclude):
                continue
            if path == as_text(path):
                paths.append(path)
            else:
                unusable.append(BrokenFile(path=as_text(path), reason="the file name is not UTF-8: rename it"))
    return paths, unusable


def files_in(folder: str, names: Sequence[str], root: Path, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Relative paths of those `names` in `folder` that end in one of `suffixes` and do not lead out of `root`."""
    for name in names:
        if name.startswith(".") or Path(name).suffix.lower() not in suffixes:
            continue
        path = Path(folder, name)
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            continue
        yield path.relative_to(root).as_posix()
