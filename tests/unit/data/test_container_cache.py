"""Whole containers on a host: brought once, within the bound, and never half."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import BinaryIO

import pytest

from detco_core.contract.datasets import ObjectCache
from detco_core.contract.errors import DataError
from detco_core.data.container_cache import Brought, Part
from detco_core.data.object_cache import HALF, Kept


def parts(content: bytes, brought: list[str], *names: str) -> Callable[[], list[Part]]:
    def write(file: BinaryIO) -> None:
        brought.append("part")
        file.write(content)

    return lambda: [Part(name, len(content), write) for name in names or ("",)]


def cache(folder: Path, most: int = 1000) -> ObjectCache:
    return ObjectCache(folder=str(folder), max_bytes=most)


def kept(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_those_who_want_one_at_once_share_it(tmp_path: Path) -> None:
    brought: list[str] = []
    together = Barrier(4)

    def read(_: int) -> bytes:
        together.wait(timeout=60)
        return Brought(cache(tmp_path), "s3://b/p").using("a.tar@1", parts(b"abc", brought), Path.read_bytes)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(4))) == [b"abc"] * 4
    assert brought == ["part"]


def test_the_bound_holds_and_what_is_open_stays_readable(tmp_path: Path) -> None:
    ours, brought = Brought(cache(tmp_path), "s3://b/p"), list[str]()
    first = ours.using("a", parts(bytes(400), brought), lambda path: path.open("rb"))
    with first:
        ours.using("b", parts(bytes(200), brought, "one", "two"), lambda folder: sorted(folder.iterdir()))
        for n, path in enumerate(sorted(tmp_path.glob("*/*/*"), key=Path.is_dir)):
            os.utime(path, (n, n))
        ours.using("c", parts(bytes(400), brought), Path.read_bytes)
        assert kept(tmp_path) == 800
        assert first.read() == bytes(400)
    assert ours.using("b", parts(b"", brought), lambda folder: len(list(folder.iterdir()))) == 2, "it was used later"
    assert ours.using("a", parts(bytes(400), brought), Path.read_bytes) == bytes(400)
    assert len(brought) == 5
    with pytest.raises(DataError, match=r"1001 bytes, more than the 1000 .* DETCO_DATA_CACHE_BYTES"):
        ours.using("d", parts(bytes(1001), brought), Path.read_bytes)


def test_one_that_fails_or_was_cut_off_leaves_nothing(tmp_path: Path) -> None:
    ours, brought = Brought(cache(tmp_path), "s3://b/p"), list[str]()

    def fail(file: BinaryIO) -> None:
        file.write(b"ab")
        raise DataError("away")

    with pytest.raises(DataError, match="away"):
        ours.using("a", lambda: [Part("x", 3, fail)], Path.read_bytes)
    assert kept(tmp_path) == 0
    left = tmp_path / ObjectCache.name_of("s3://b/q") / HALF / "of a process that was killed"
    left.mkdir(parents=True)
    (left / "x").write_bytes(bytes(900))
    assert ours.using("a", parts(bytes(1000), brought), Path.read_bytes) == bytes(1000)
    assert kept(tmp_path) == 1000


def test_room_for_images_is_made_of_containers_too(tmp_path: Path) -> None:
    ours = Brought(cache(tmp_path), "s3://b/p")
    ours.using("a", parts(bytes(400), [], "one", "two"), lambda folder: None)
    images = Kept(cache(tmp_path), "s3://b/p")
    for path in tmp_path.glob("*/*/*"):
        os.utime(path, (0, 0))
    images.put("x", bytes(300))
    assert kept(tmp_path) == 332
    assert images.get("x") == bytes(300)
