"""The file manifest: what is written is what is read, and any change is found."""

import dataclasses
import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detco_core.contract.datasets import DatasetFile
from detco_core.contract.errors import DataError
from detco_core.data.file_table import MAX_LINE, Member, read_manifest, tabulate, write_manifest
from detco_core.data.folder import FileList, Folder

WORDS = st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
COUNTS = st.integers(0, 2**40)
CONTAINERS = st.none() | st.sampled_from(["a.tar", "b/c.tar", "."])


def contained(container: str | None, position: int, **fields: Any) -> DatasetFile:
    return DatasetFile(container=container, position=None if container is None else position, **fields)


FILES = st.lists(
    st.builds(
        contained,
        container=CONTAINERS,
        position=COUNTS,
        path=st.text(st.characters(codec="utf-8", exclude_characters="/."), min_size=1, max_size=12),
        bytes=COUNTS,
        width=COUNTS,
        height=COUNTS,
        channels=st.integers(0, 4),
        label=WORDS,
        split=WORDS,
    ),
    max_size=12,
    unique_by=lambda file: file.path,
)


def line(**changes: object) -> str:
    plain = {"path": "a/b.jpg", "bytes": 9, "width": 4, "height": 3, "channels": 3, "label": None, "split": None}
    return json.dumps(plain | changes) + "\n"


@given(files=FILES)
def test_a_table_holds_what_was_put_in(files: list[DatasetFile]) -> None:
    table = tabulate(files)
    assert [table.file(n) for n in range(len(table))] == files
    again = pickle.loads(pickle.dumps(table))  # noqa: S301  # our own bytes: it travels to loader processes so
    assert [again.path(n) for n in range(len(again))] == [file.path for file in files]
    assert table.labels() == tuple(sorted({file.label for file in files if file.label is not None}))
    for split in {file.split for file in files if file.split is not None}:
        assert table.places(split).tolist() == [n for n, file in enumerate(files) if file.split == split]


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


@given(files=FILES)
def test_written_and_read_back(files: list[DatasetFile], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("manifest") / "manifest.jsonl"
    digest = write_manifest(path, reversed(files))
    assert digest == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    table = read_manifest(path, digest)
    assert [table.file(n) for n in range(len(table))] == sorted(files, key=lambda file: file.path)
    assert list(path.parent.iterdir()) == [path]


def test_a_changed_manifest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    digest = write_manifest(path, [DatasetFile(path="a.jpg", bytes=1, width=1, height=1, channels=3)])
    path.write_bytes(path.read_bytes().replace(b"a.jpg", b"b.jpg"))
    with pytest.raises(DataError, match="was changed"):
        read_manifest(path, digest)
    assert read_manifest(path, None).path(0) == "b.jpg"


@pytest.mark.parametrize(
    "bad",
    [
        "not json\n",
        "[]\n",
        line(extra=1),
        '{"path": "a.jpg"}\n',
        line(path=3),
        line(width="wide"),
        line(label=7),
        line(path="x" * (MAX_LINE + 1)),
        line(bytes=2**70),
        line(bytes=-1),
        line(container="a.tar"),
        line(position=3),
        line(container="a.tar", position=-1),
        line(container=5, position=1),
    ],
)
def test_a_line_of_another_kind_is_refused_by_number(bad: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text(line() + bad)
    with pytest.raises(DataError, match="line 2"):
        read_manifest(path, None)


@pytest.mark.parametrize("outside", ["../a.jpg", "a/../../b.jpg", "", "/", "/a/../../b.jpg"])
def test_a_path_that_leaves_the_root_is_refused(outside: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text(line(path=outside))
    with pytest.raises(DataError, match="leaves the data set's root"):
        read_manifest(path, None)


def test_an_absolute_path_is_followed_by_a_list_only(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text(line(path="/elsewhere/a.jpg"))
    member = read_manifest(path, None).member(0)
    assert FileList(tmp_path / "list.txt").open(member) == "/elsewhere/a.jpg"
    assert Path(str(Folder(tmp_path).open(member))) == tmp_path / "elsewhere/a.jpg"
    path.write_text(line(path="/elsewhere/a.jpg", container="a.tar", position=1))
    with pytest.raises(DataError, match="leaves the data set's root"):
        read_manifest(path, None)


@pytest.mark.parametrize("outside", ["/etc/a.tar", "../a.tar", ""])
def test_a_container_that_leaves_the_root_is_refused(outside: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text(line(container=outside, position=1))
    with pytest.raises(DataError, match="leaves the data set's root"):
        read_manifest(path, None)


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


def test_lines_of_files_by_themselves_are_what_they_always_were(tmp_path: Path) -> None:
    # Digests of data sets scanned before must come out the same again.
    write_manifest(tmp_path / "m", [DatasetFile(path="a.jpg", bytes=1, width=2, height=3, channels=3)])
    expected = '{"bytes":1,"channels":3,"height":3,"label":null,"path":"a.jpg","split":null,"width":2}\n'
    assert (tmp_path / "m").read_text() == expected


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jsonl cannot be read"):
        read_manifest(tmp_path / "gone.jsonl", None)
