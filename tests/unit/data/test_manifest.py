"""The file manifest: what is written is what is read, and any change is found."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given

from detco_core.contract.datasets import DatasetFile
from detco_core.contract.errors import DataError
from detco_core.data.disk import Disk
from detco_core.data.folder import FileList, Folder
from detco_core.data.manifest import MAX_LINE, read_manifest, write_manifest
from tests.unit.data.files import FILES


def line(**changes: object) -> str:
    plain = {"path": "a/b.jpg", "bytes": 9, "width": 4, "height": 3, "channels": 3, "label": None, "split": None}
    return json.dumps(plain | changes) + "\n"


@given(files=FILES)
def test_written_and_read_back(files: list[DatasetFile], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("manifest") / "manifest.jsonl"
    digest = write_manifest(path, iter(sorted(files, key=lambda file: file.path)))
    assert digest == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    table = read_manifest(path, digest)
    assert [table.file(n) for n in range(len(table))] == sorted(files, key=lambda file: file.path)
    assert list(path.parent.iterdir()) == [path]


def test_files_that_do_not_come_in_order_leave_nothing_behind(tmp_path: Path) -> None:
    files = [DatasetFile(path=path, bytes=1, width=1, height=1, channels=3) for path in ("b.jpg", "a.jpg")]
    with pytest.raises(ValueError, match=r"'a\.jpg' comes after 'b\.jpg'"):
        write_manifest(tmp_path / "manifest.jsonl", files)
    assert list(tmp_path.iterdir()) == []


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
    image, below = tmp_path / "a.jpg", tmp_path / "root" / str(tmp_path)[1:] / "a.jpg"
    below.parent.mkdir(parents=True)
    for file in (image, below):
        file.write_bytes(b"9 letters")
    path.write_text(line(path=str(image)))
    member = read_manifest(path, None).member(0)
    assert FileList(Disk(tmp_path / "list.txt")).open(member) == str(image)
    assert Path(str(Folder(Disk(tmp_path / "root")).open(member))) == below
    path.write_text(line(path="/elsewhere/a.jpg", container="a.tar", position=1))
    with pytest.raises(DataError, match="leaves the data set's root"):
        read_manifest(path, None)


@pytest.mark.parametrize("outside", ["/etc/a.tar", "../a.tar", ""])
def test_a_container_that_leaves_the_root_is_refused(outside: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text(line(container=outside, position=1))
    with pytest.raises(DataError, match="leaves the data set's root"):
        read_manifest(path, None)


def test_lines_of_files_by_themselves_are_what_they_always_were(tmp_path: Path) -> None:
    # Digests of data sets scanned before must come out the same again.
    write_manifest(tmp_path / "m", [DatasetFile(path="a.jpg", bytes=1, width=2, height=3, channels=3)])
    expected = '{"bytes":1,"channels":3,"height":3,"label":null,"path":"a.jpg","split":null,"width":2}\n'
    assert (tmp_path / "m").read_text() == expected


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jsonl cannot be read"):
        read_manifest(tmp_path / "gone.jsonl", None)
