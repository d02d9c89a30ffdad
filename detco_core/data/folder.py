"""Images that are files of their own: all below a root, or those that a list names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from detco_core.contract.datasets import DatasetFile
from detco_core.contract.errors import DataError
from detco_core.data.file_table import Member
from detco_core.data.locations import Allowed, Follow, Location
from detco_core.data.sources import Bytes, Listing, excluded
from detco_core.data.spill import BrokenFiles, in_order

MAX_LINE = 4096
"""Bytes of a line of a list; longer ones are no path."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The files below a root whose names say they are images."""

    at: Location

    def listing(self, exclude: Sequence[str] = ()) -> Listing:
        """As `Source`. Hidden files and folders are left out."""
        unusable = BrokenFiles()
        return Listing(self.at.images(exclude, unusable), unusable)

    def open(self, member: Member) -> Bytes:
        return self.at.open(member)


@dataclass(frozen=True, slots=True)
class FileList:
    """The files a text names, one a line: relative to where the text lies, or absolute."""

    at: Location
    allowed: Allowed = None
    """Roots besides the text's own folder that lines may lead into, links followed; None: anywhere."""

    def listing(self, exclude: Sequence[str] = ()) -> Listing:
        """As `Source`. Empty lines are skipped; a line that names no file it may name is unusable, by its number.

        Whatever a line names is taken for an image, whatever its suffix. Paths are relative to the text's folder, those
        outside it absolute.
        """
        unusable = BrokenFiles()
        named = in_order(self._named(unusable))
        return Listing(self._there(self._once(named, exclude, unusable), unusable), unusable)

    def open(self, member: Member) -> Bytes:
        return self.at.open_named(member, self.allowed)

    def _named(self, unusable: BrokenFiles) -> Iterator[tuple[str, int]]:
        """The path and the number of every line that names a file."""
        follow = self.at.follower(self.allowed)
        for number, line in self._lines():
            path, reason = _path(line, follow)
            if reason is None:
                yield path, number
            else:
                unusable.append(self._line(number), reason)

    def _once(
        self, named: Iterator[tuple[str, int]], exclude: Sequence[str], unusable: BrokenFiles
    ) -> Iterator[tuple[str, int]]:
        last, first_line = "", 0
        for path, number in named:
            if path == last:
                unusable.append(self._line(number), f"{path} was named by line {first_line} already")
                continue
            last, first_line = path, number
            if not excluded(path, exclude):
                yield path, number

    def _there(self, named: Iterator[tuple[str, int]], unusable: BrokenFiles) -> Iterator[DatasetFile]:
        for number, found in self.at.look_up(named):
            if isinstance(found, str):
                unusable.append(self._line(number), found)
            else:
                yield found

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        with self.at.text() as lines:
            for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE + 1), b""), start=1):
                if len(line) > MAX_LINE:
                    raise DataError(f"{self.at}, line {number} is longer than {MAX_LINE} bytes: no list of files")
                if line.strip():
                    yield number, line.rstrip(b"\r\n")

    def _line(self, number: int) -> str:
        return f"{self.at.name}:{number}"


def _path(line: bytes, follow: Follow) -> tuple[str, str | None]:
    """The path a line names, or why it names none."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return "", "the line is not UTF-8"
    return ("", "the line holds a NUL character") if "\0" in text else follow(text)
