"""Archives are unpacked once on a host, stay while they are read, and make room for others when they are not."""

import io
import tarfile
from pathlib import Path

import pytest

from control.settings import Settings
from control.storage.base import file_digest, key_of
from control.storage.local import LocalStore
from detco_core.contract.datasets import ObjectCache
from detco_core.contract.errors import DataError
from worker.inputs.unpacked import Unpacked


class Host:
    """A store with archives in it, and a host's folder of what is unpacked."""

    def __init__(self, folder: Path, most: int = 1000) -> None:
        self.folder = folder
        self.store = LocalStore(folder / "store")
        self.settings = Settings(data_cache_bytes=most, max_unpacked_bytes=5000)
        self.fetched: list[str] = []

    def add(self, name: str, size: int) -> str:
        path = self.folder / f"{name}.tar"
        with tarfile.open(path, "w") as tar:
            info = tarfile.TarInfo(name)
            info.size = size
            tar.addfile(info, io.BytesIO(bytes(size)))
        digest = file_digest(path)
        self.store.put(path, digest)
        return digest

    def place(self, path: Path, digest: str) -> None:
        self.fetched.append(digest)
        self.store.fetch(key_of(digest), path, digest)

    def reader(self) -> Unpacked:
        return Unpacked(self.folder / "cache", self.settings)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_the_second_reader_finds_it_there(host: Host) -> None:
    digest = host.add("a.jpg", 10)
    first, second = host.reader(), host.reader()
    for reader in (first, second):
        reader.bring(digest, host.place)
        assert (reader.folder_of(digest) / "a.jpg").read_bytes() == bytes(10)
    assert host.fetched == [digest]
    assert sorted(path.name for path in (host.folder / "cache" / "unpacked").iterdir())[-1:] == [digest[7:]]


def test_those_unused_longest_make_room_but_never_under_a_reader(host: Host) -> None:
    old, read, new = (host.add(f"{n}.jpg", 600) for n in "abc")
    for digest in (old, read):
        host.reader().bring(digest, host.place)
    reader = host.reader()
    reader.bring(read, host.place)
    assert reader.kept() == [read[7:]]
    other = host.reader()
    other.bring(new, host.place)
    assert sorted(other.kept()) == sorted([read[7:], new[7:]])
    assert other.forget(read) == 0
    del reader
    assert other.forget(read) == 600
    assert other.kept() == [new[7:]]


@pytest.mark.parametrize("size", [6000, None])
def test_one_that_cannot_be_read_is_the_data_sets_fault(host: Host, size: int | None) -> None:
    digest = "sha256:" + "0" * 64 if size is None else host.add("a.jpg", size)
    with pytest.raises(DataError, match=r"archive sha256:.* cannot be read: .*(no artifact|more than 5000 bytes)"):
        host.reader().bring(digest, host.place)
    assert [path for path in (host.folder / "cache" / "unpacked").iterdir() if path.is_dir()] == []


def test_copies_of_objects_go_with_their_data_set(host: Host) -> None:
    reader = host.reader()
    for root in ("s3://b/kept", "s3://b/gone"):
        (Path(reader.objects.folder) / ObjectCache.name_of(root) / "ab").mkdir(parents=True)
    reader.forget_objects(["s3://b/kept"])
    assert [path.name for path in Path(reader.objects.folder).iterdir()] == [ObjectCache.name_of("s3://b/kept")]
