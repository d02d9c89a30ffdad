"""A shard is written while the next is gathered, told once, and not lost by one who leaves."""

import threading

import pytest

from detco_core.contract.extractions.files import Entry, EntryError, ShardFiles, StoredFile
from detco_core.extraction.behind import WrittenBehind
from detco_core.extraction.computing import Computed
from detco_core.extraction.shards import Shard

PATIENCE = 120.0


def files(number: int) -> ShardFiles:
    file = StoredFile(path=str(number), bytes=1, sha256="sha256:0")
    return ShardFiles(shard=file, part=file, images=1, broken=0, rows=1)


def test_it_is_taken_when_it_is_there_and_once() -> None:
    gate = threading.Event()

    def write(shard: Shard) -> ShardFiles:
        assert gate.wait(PATIENCE)
        return files(shard.number)

    broken = Entry(image="a.jpg", error=EntryError(code="unreadable", message="torn"))
    with WrittenBehind(write) as behind:
        assert behind.take(wait=True) == []
        behind.begin(Shard(7, [Computed(Entry(image="b.jpg"), []), Computed(broken, [])]))
        assert behind.take(wait=False) == []
        gate.set()
        ((found, lines),) = behind.take(wait=True)
        assert found == files(7)
        assert len(lines) == 1
        assert '"a.jpg"' in lines[0]
        assert behind.take(wait=True) == behind.left() == []


def test_what_writing_raised_is_raised_unless_one_leaves_for_another_reason() -> None:
    def write(_: Shard) -> ShardFiles:
        raise OSError("no room")

    with WrittenBehind(write) as behind:
        behind.begin(Shard(0))
        assert behind.left() == []
        with pytest.raises(OSError, match="no room"):
            behind.take(wait=True)


def test_who_leaves_takes_along_what_was_written() -> None:
    with WrittenBehind(lambda shard: files(shard.number)) as behind:
        behind.begin(Shard(3))
        assert [written.files for written in behind.left()] == [files(3)]
