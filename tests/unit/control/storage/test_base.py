import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from control.errors import ArtifactMissing, DigestMismatch, StoreError
from control.storage.base import Store, file_digest, is_key, key_of, place_verified, prefixed, verify

CONTENT = b"features" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(CONTENT)
    return path


def test_a_key_is_the_digest() -> None:
    assert key_of(SHA) == key_of(f"sha256:{SHA}") == f"sha256/{SHA[:2]}/{SHA}"
    assert prefixed(SHA) == prefixed(f"sha256:{SHA}") == f"sha256:{SHA}"


@pytest.mark.parametrize("wrong", ["", SHA[:-1], SHA + "0", SHA.upper(), "../" * 21 + "x", f"md5:{SHA}", SHA + "\n"])
def test_what_is_not_a_digest_is_refused(wrong: str) -> None:
    with pytest.raises(StoreError, match="not a sha256 digest"):
        key_of(wrong)


def test_what_is_put_can_be_fetched(store: Store, file: Path, tmp_path: Path) -> None:
    key = store.put(file, f"sha256:{SHA}")
    assert store.put(file, SHA) == key
    assert store.exists(key)
    assert store.size(key) == len(CONTENT)
    store.fetch(key, tmp_path / "new" / "folder" / "copy", SHA)
    assert (tmp_path / "new" / "folder" / "copy").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("start", "end"), [(0, None), (0, 10), (5, 6), (7999, None), (8000, None), (9000, None), (5, 5)]
)
def test_ranges(store: Store, file: Path, start: int, end: int | None) -> None:
    key = store.put(file, SHA)
    assert b"".join(store.open_range(key, start, end)) == CONTENT[start:end]


def test_bytes_that_are_not_their_digest_are_not_stored(store: Store, file: Path) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(DigestMismatch, match="write it again"):
        store.put(file, other)
    assert not store.exists(key_of(other))


def test_what_is_missing_is_said_so(store: Store, tmp_path: Path) -> None:
    key = key_of(SHA)
    with pytest.raises(ArtifactMissing):
        store.size(key)
    with pytest.raises(ArtifactMissing):
        store.fetch(key, tmp_path / "copy", SHA)
    with pytest.raises(ArtifactMissing):
        list(store.open_range(key))
    assert not store.exists(key)
    store.delete(key)
    assert list(tmp_path.glob("copy*")) == []


def test_deleting(store: Store, file: Path) -> None:
    key = store.put(file, SHA)
    store.delete(key)
    assert not store.exists(key)


def test_what_the_store_damaged_is_noticed(store: Store, file: Path, tmp_path: Path) -> None:
    store.put(file, SHA)
    file.write_bytes(b"x" + CONTENT[1:])
    other = file_digest(file)
    store.put(file, other)
    (tmp_path / "copy").write_bytes(b"as it was")
    with pytest.raises(DigestMismatch):
        store.fetch(key_of(other), tmp_path / "copy", SHA)
    assert (tmp_path / "copy").read_bytes() == b"as it was"


def test_a_write_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def torn() -> Iterator[bytes]:
        yield CONTENT[:100]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        place_verified(torn(), tmp_path / "deep" / "file", SHA)
    assert list((tmp_path / "deep").iterdir()) == []


def test_the_list_of_all_there_is(store: Store, file: Path) -> None:
    key = store.put(file, SHA)
    (entry,) = store.entries()
    assert (entry.key, entry.bytes) == (key, len(CONTENT))
    assert abs((datetime.now(UTC) - entry.written_at).total_seconds()) < 60
    assert store.sweep(datetime.now(UTC)) == 0
    assert is_key(key)
    assert not any(map(is_key, ("", "sha256/ab/x", f"sha256/ff/{SHA}", f"md5/{SHA[:2]}/{SHA}", key + "x")))


def test_verify(file: Path) -> None:
    verify(file, SHA)
    with pytest.raises(DigestMismatch, match=r"model\.onnx has digest"):
        verify(file, "0" * 64)
