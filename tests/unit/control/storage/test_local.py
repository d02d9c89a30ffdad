import errno
import hashlib
from pathlib import Path

import pytest

from control.errors import StoreError, StoreFull
from control.storage.local import LocalStore

SHA = hashlib.sha256(b"abc").hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    return path


def test_a_stored_file_is_a_copy(tmp_path: Path, file: Path) -> None:
    store = LocalStore(tmp_path / "store")
    key = store.put(file, SHA)
    file.write_bytes(b"xyz")
    assert b"".join(store.open_range(key)) == b"abc"


@pytest.mark.parametrize("damaged", [b"a", b"axc"])
def test_a_file_that_was_damaged_is_written_again(tmp_path: Path, file: Path, damaged: bytes) -> None:
    store = LocalStore(tmp_path / "store")
    key = store.put(file, SHA)
    (store.folder / key).write_bytes(damaged)
    store.put(file, SHA)
    assert b"".join(store.open_range(key)) == b"abc"


def test_a_full_disk_says_so_and_leaves_nothing(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = LocalStore(tmp_path / "store")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreFull, match="no room in the artifact folder"):
        store.put(file, SHA)
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_used_is_a_store_error(tmp_path: Path, file: Path) -> None:
    (tmp_path / "store").touch()
    with pytest.raises(StoreError, match="cannot be used"):
        LocalStore(tmp_path / "store").put(file, SHA)


def test_a_source_that_is_missing_is_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LocalStore(tmp_path / "store").put(tmp_path / "none", SHA)
