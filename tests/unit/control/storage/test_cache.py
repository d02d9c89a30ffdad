import hashlib
import os
from pathlib import Path

import pytest

from control.errors import ArtifactMissing
from control.storage.base import key_of
from control.storage.cache import Cache
from control.storage.local import LocalStore


class Counting(LocalStore):
    """A store that counts what is fetched from it."""

    fetched = 0

    def fetch(self, key: str, dest: Path, sha256: str) -> None:
        self.fetched += 1
        super().fetch(key, dest, sha256)


@pytest.fixture
def store(tmp_path: Path) -> Counting:
    return Counting(tmp_path / "store")


def put(store: LocalStore, tmp_path: Path, content: bytes) -> str:
    (tmp_path / "source").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    store.put(tmp_path / "source", digest)
    return digest


def test_an_artifact_is_fetched_once(store: Counting, tmp_path: Path) -> None:
    digest = put(store, tmp_path, b"abc")
    cache = Cache(tmp_path / "cache", 100, store)
    for name in ("a", "b", "a"):
        cache.place(tmp_path / "attempt" / name, f"sha256:{digest}")
    assert store.fetched == 1
    assert {path.name: path.read_bytes() for path in (tmp_path / "attempt").iterdir()} == {"a": b"abc", "b": b"abc"}


def test_a_damaged_copy_is_fetched_again(store: Counting, tmp_path: Path) -> None:
    digest = put(store, tmp_path, b"abc")
    cache = Cache(tmp_path / "cache", 100, store)
    cache.place(tmp_path / "a", digest)
    (tmp_path / "cache" / key_of(digest)).write_bytes(b"xyz")
    cache.place(tmp_path / "b", digest)
    assert (tmp_path / "b").read_bytes() == b"abc"
    assert store.fetched == 2


def test_what_was_unused_longest_goes_first_and_placed_files_stay(store: Counting, tmp_path: Path) -> None:
    digests = [put(store, tmp_path, letter * 40) for letter in (b"a", b"b", b"c")]
    cache = Cache(tmp_path / "cache", 100, store)
    for number, digest in enumerate(digests[:2]):
        cache.place(tmp_path / str(number), digest)
        os.utime(tmp_path / "cache" / key_of(digest), (number + 1, number + 1))
    cache.place(tmp_path / "0", digests[0])
    cache.place(tmp_path / "2", digests[2])
    held = {path.name for path in (tmp_path / "cache").glob("sha256/*/*")}
    assert held == {digests[0], digests[2]}
    assert (tmp_path / "1").read_bytes() == b"b" * 40


def test_an_artifact_larger_than_the_bound_is_still_placed(store: Counting, tmp_path: Path) -> None:
    digest = put(store, tmp_path, b"a" * 200)
    Cache(tmp_path / "cache", 100, store).place(tmp_path / "big", digest)
    assert (tmp_path / "big").stat().st_size == 200


def test_what_the_store_lacks_is_not_placed(store: Counting, tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing):
        Cache(tmp_path / "cache", 100, store).place(tmp_path / "x", "0" * 64)
    assert not (tmp_path / "x").exists()
