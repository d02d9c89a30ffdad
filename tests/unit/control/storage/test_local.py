import hashlib
from pathlib import Path

import pytest

from control.errors import StoreError
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


def test_a_file_cut_short_by_a_crash_is_written_again(tmp_path: Path, file: Path) -> None:
    store = LocalStore(tmp_path / "store")
    key = store.put(file, SHA)
    (store.folder / key).write_bytes(b"a")
    store.put(file, SHA)
    assert b"".join(store.open_range(key)) == b"abc"


def test_a_folder_that_cannot_be_used_is_a_store_error(tmp_path: Path, file: Path) -> None:
    (tmp_path / "store").touch()
    with pytest.raises(StoreError, match="cannot be used"):
        LocalStore(tmp_path / "store").put(file, SHA)


def test_a_source_that_is_missing_is_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LocalStore(tmp_path / "store").put(tmp_path / "none", SHA)
