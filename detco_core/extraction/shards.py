"""Gathers the features of neighbouring images and writes them as one shard with its index part."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from detco_core.contract.errors import DataError
from detco_core.contract.extractions.files import PART_SUFFIX, SHARD_SUFFIXES, ShardFiles, ShardHead, read_line
from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.contract.reader import canonical_json
from detco_core.extraction.atomic import Writing, describe, stored, stored_text
from detco_core.extraction.computing import Computed
from detco_core.extraction.formats import Piece, write_parquet, write_safetensors

_BROKEN = '"error":{'
"""In the line of an image that has no features."""


@dataclass(slots=True)
class Shard:
    """What one shard will hold."""

    number: int
    images: list[Computed] = field(default_factory=list)
    rows: int = 0

    def add(self, image: Computed) -> None:
        """The next image."""
        self.images.append(Computed(replace(image.entry, row=self.rows), image.features))
        self.rows += image.entry.rows

    @property
    def good(self) -> list[Computed]:
        """Those that have features."""
        return [image for image in self.images if image.features]


@dataclass(frozen=True, slots=True)
class ShardWriter:
    """Writes shards to a folder."""

    folder: Path
    names: tuple[str, ...]
    """Of the tensors of an image."""
    options: ExtractionOptions
    question: str
    """Digest of all that the features depend on."""
    stacks: bool
    """All images' tensors have one shape, but for how many rows they have."""

    def write(self, shard: Shard) -> ShardFiles:
        """The shard, then its index part, each whole or not at all."""
        path = self.folder / f"{shard.number:05}{SHARD_SUFFIXES[self.options.format]}"
        data = stored(path, lambda file: self._write(shard, file))
        broken = len(shard.images) - len(shard.good)
        head = ShardHead(question=self.question, shard=data, images=len(shard.images), broken=broken, rows=shard.rows)
        lines = (canonical_json(head), *(canonical_json(image.entry) for image in shard.images))
        part = stored_text(self.folder / part_name(shard.number), "".join(f"{line}\n" for line in lines))
        return ShardFiles(shard=data, part=part, images=head.images, broken=broken, rows=shard.rows)

    def _write(self, shard: Shard, file: Writing) -> None:
        metadata = {"question": self.question}
        if self.options.format == "safetensors":
            write_safetensors(file, dict(self._stacked(shard) if self.stacks else self._apart(shard)), metadata)
            return
        rows = [(image.entry.image, box) for image in shard.good for box in range(image.entry.rows)]
        write_parquet(file, rows, dict(self._stacked(shard)), metadata)

    def _stacked(self, shard: Shard) -> Iterator[tuple[str, list[Piece]]]:
        if good := shard.good:
            for place, name in enumerate(self.names):
                yield name, [image.features[place].array for image in good]

    def _apart(self, shard: Shard) -> Iterator[tuple[str, list[Piece]]]:
        for image in shard.good:
            for place, name in enumerate(self.names):
                yield f"{image.entry.row}/{name}", [image.features[place].array]


def part_name(number: int) -> str:
    """Of an index part."""
    return f"{number:05}{PART_SUFFIX}"


def finished_shards(folder: Path, question: str) -> tuple[list[ShardFiles], list[str]]:
    """Shards from the first on that an earlier process finished, and the lines of their broken images.

    Raises:
        DataError: what lies there is of another question.
    """
    done: list[ShardFiles] = []
    broken: list[str] = []
    while (path := folder / part_name(len(done))).is_file():
        with path.open(encoding="utf-8") as lines:
            head = read_line(ShardHead, lines.readline(), str(path))
            if head.question != question:
                raise DataError(f"{folder} holds shards of another extraction: name another folder, or empty it")
            broken += [line for line in lines if _BROKEN in line]
        part = describe(path)
        done.append(ShardFiles(shard=head.shard, part=part, images=head.images, broken=head.broken, rows=head.rows))
    return done, broken
