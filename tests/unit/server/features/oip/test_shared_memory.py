"""Shared memory: real POSIX objects of another's making, and what is none of the client's."""

import os
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory as Object
from pathlib import Path
from typing import Any

import pytest

from server.features.errors import BadTensor
from server.features.oip.requests import Region
from server.features.oip.shared_memory import FOLDER, SharedMemory


@pytest.fixture
def theirs() -> Iterator[Object]:
    """A client's object of 4096 bytes."""
    made = Object(f"client-{os.getpid()}", create=True, size=4096)
    (FOLDER / made.name).write_bytes(b"abcd" + bytes(4092))
    yield made
    made.close()
    made.unlink()


@pytest.fixture
def memory() -> SharedMemory:
    return SharedMemory()


def test_both_sides_see_what_the_other_writes(memory: SharedMemory, theirs: Object) -> None:
    memory.register("r", f"/{theirs.name}", 1, 100)
    assert bytes(memory.read(Region("r", 1, 2))) == b"cd"
    memory.write(Region("r", 10, 3), memoryview(b"xyz"))
    assert (FOLDER / theirs.name).read_bytes()[11:14] == b"xyz"
    assert memory.status(None) == [{"name": "r", "key": f"/{theirs.name}", "offset": 1, "byte_size": 100}]
    assert memory.status("r") == memory.status(None)
    memory.unregister("r")
    memory.unregister("r")
    assert memory.status(None) == []


@pytest.mark.parametrize(
    "key",
    ["", "/", "//client", "../etc/passwd", "a/b", "/a/../b", "nowhere", ".hidden", "torch_1", "/sem.x", 5, "a\0b"],
)
def test_keys_that_are_not_a_clients(memory: SharedMemory, key: Any) -> None:
    with pytest.raises(BadTensor) as raised:
        memory.register("r", key, 0, 4)
    assert "passwd" not in str(raised.value)


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 4097), (4096, 1), (-1, 4), (0, 0), (0, -1), (0, 2**70), (0.0, 4), (True, 4)]
)
def test_sizes_are_held_to_the_object(memory: SharedMemory, theirs: Object, offset: Any, size: Any) -> None:
    with pytest.raises(BadTensor):
        memory.register("r", theirs.name, offset, size)
    assert memory.status(None) == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(10))
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")
    for key in ("link", "pipe"):
        with pytest.raises(BadTensor):
            SharedMemory(tmp_path).register("r", key, 0, 10)


def test_places_outside_a_region_are_refused(memory: SharedMemory, theirs: Object) -> None:
    memory.register("r", theirs.name, 0, 100)
    for region in (Region("r", 90, 11), Region("r", 101, 0), Region("other", 0, 1)):
        with pytest.raises(BadTensor):
            memory.read(region)
    with pytest.raises(BadTensor, match="more than"):
        memory.write(Region("r", 0, 2), memoryview(b"abc"))
    with pytest.raises(BadTensor, match="registered already"):
        memory.register("r", theirs.name, 0, 100)


def test_an_object_that_becomes_shorter_harms_nobody(memory: SharedMemory, theirs: Object) -> None:
    memory.register("r", theirs.name, 0, 4096)
    os.truncate(FOLDER / theirs.name, 10)
    with pytest.raises(BadTensor, match="shorter"):
        memory.read(Region("r", 0, 4096))
    with pytest.raises(BadTensor, match="shorter"):
        memory.write(Region("r", 0, 4096), memoryview(bytes(4096)))
    os.truncate(FOLDER / theirs.name, 4096)
