"""The table: what is put in is what comes out, in memory or mapped, in this process or one started from it."""

import dataclasses
import multiprocessing
import pickle
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from detco_core.contract.datasets import DatasetFile
from detco_core.data import mapped
from detco_core.data.file_table import FileTable, Member, tabulate
from tests.unit.data.files import FILES


@given(files=FILES)
def test_a_table_holds_what_was_put_in(files: list[DatasetFile]) -> None:
    table = tabulate(files)
    assert [table.file(n) for n in range(len(table))] == files
    again = pickle.loads(pickle.dumps(table))  # noqa: S301  # our own bytes: it travels to loader processes so
    assert [again.path(n) for n in range(len(again))] == [file.path for file in files]
    assert table.labels() == tuple(sorted({file.label for file in files if file.label is not None}))
    for split in {file.split for file in files if file.split is not None}:
        assert table.places(split).tolist() == [n for n, file in enumerate(files) if file.split == split]


def test_a_digest_is_of_the_files_and_of_their_order() -> None:
    one, two = (DatasetFile(path=path, bytes=0, width=0, height=0, channels=0) for path in ("a.jpg", "b.jpg"))
    named = dataclasses.replace(two, label="cat")
    tables = [[one, two], [two, one], [one], [one, named], []]
    assert len({tabulate(files).digest() for files in tables}) == len(tables)
    assert tabulate([one, two]).digest() == tabulate([one, two]).digest()


@pytest.mark.slow
def test_a_long_table_is_mapped_and_started_processes_map_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "IN_MEMORY", 1000)
    files = [
        DatasetFile(path=f"{n:04d}.jpg", bytes=n, width=1, height=2, channels=3, container=c, position=p)
        for n, (c, p) in enumerate([(None, None)] * 300 + [("x.tar", 512)] * 300)
    ]
    table = tabulate(files, tmp_path)
    assert list(tmp_path.iterdir()) == []  # its files have no names
    assert [table.file(n) for n in range(len(table))] == files
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_look, args=(table, theirs))
    process.start()
    deleted, seen = ours.recv()
    process.join()
    assert seen == [(table.path(n), table.member(n)) for n in (0, 299, 300, 599)]
    assert deleted >= 3


def _look(table: FileTable, answer: "Connection[object, object]") -> None:
    """Say how many unnamed files this process has mapped, and what it sees in the table."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    count = sum(("(deleted)" in line and "detco-" in line) or "/#" in line for line in maps)
    answer.send((count, [(table.path(n), table.member(n)) for n in (0, 299, 300, 599)]))


def test_classes_are_places_in_the_list_of_labels() -> None:
    base = DatasetFile(path="x", bytes=1, width=1, height=1, channels=3)
    labels, splits = ["b", "a", "b", "c"], ["b", "train", "train", "b"]
    files = [
        dataclasses.replace(base, path=f"{n}", label=label, split=split)
        for n, (label, split) in enumerate(zip(labels, splits, strict=True))
    ]
    table = tabulate(files)
    assert table.labels() == ("a", "b", "c")
    assert table.classes(np.arange(4), table.labels()).tolist() == [1, 0, 1, 2]
    assert table.classes(table.places("b"), ("c", "b", "a")).tolist() == [1, 0]


def test_members_say_where_their_bytes_are() -> None:
    alone = DatasetFile(path="a.jpg", bytes=5, width=1, height=1, channels=3)
    packed = dataclasses.replace(alone, path="x.tar/b.jpg", container="x.tar", position=512)
    table = tabulate([alone, packed, alone])
    assert [table.member(n) for n in range(3)] == [
        Member("a.jpg", None, 0, 5),
        Member("x.tar/b.jpg", "x.tar", 512, 5),
        Member("a.jpg", None, 0, 5),
    ]
    assert tabulate([alone]).spots is None
