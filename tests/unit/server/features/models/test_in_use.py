"""A bundle's folder stays as long as one of its users is not done, whichever process that is in."""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from server.features.models import in_use
from server.features.models.in_use import Use, remove_unused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "bundle"
    made.mkdir()
    (made / "manifest.json").write_text("{}")
    return made


def begun(folder: Path) -> Use:
    use = Use.begin(folder)
    assert use is not None
    return use


def test_the_last_user_frees_it(folder: Path) -> None:
    first, second = begun(folder), begun(folder)
    first.end()
    first.end()
    assert not remove_unused(folder)
    second.end()
    assert remove_unused(folder)
    assert list(folder.parent.iterdir()) == []
    assert Use.begin(folder) is None
    assert remove_unused(folder)


def test_a_folder_in_use_may_be_moved(folder: Path) -> None:
    use = begun(folder)
    use.move(folder.with_name("moved"))
    assert use.folder.is_dir()
    assert not remove_unused(use.folder)
    use.end()
    assert remove_unused(use.folder)


def test_what_has_no_manifest_can_be_used_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "half" / "engines").mkdir(parents=True)
    assert Use.begin(tmp_path / "half") is None
    assert remove_unused(tmp_path / "half")
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_placed_while_its_absence_is_seen_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that fetch at once look, and one is faster by a moment."""
    fetched = folder.rename(folder.with_name("fetched"))

    def late(path: Path, *_: int) -> int:
        monkeypatch.undo()
        fetched.rename(folder)
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "open", late)
    assert not remove_unused(folder)
    assert (folder / "manifest.json").is_file()


def test_half_a_bundle_is_removed_whatever_is_in_it(tmp_path: Path) -> None:
    half = tmp_path / "half"
    (half / "engines" / "deep").mkdir(parents=True)
    (half / "engines" / "deep" / "a.engine").touch()
    (half / "model.onnx").touch()
    (half / "away").symlink_to(tmp_path)
    assert remove_unused(half)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("again", [False, True])
def test_one_that_is_removed_while_somebody_begins_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, again: bool
) -> None:
    """It was opened before it was removed; perhaps there is a new one in its place by then."""

    def late(descriptor: int, how: int) -> None:
        monkeypatch.undo()
        assert remove_unused(folder)
        if again:
            folder.mkdir()
            (folder / "manifest.json").write_text("{}")
        fcntl.flock(descriptor, how)

    monkeypatch.setattr(in_use, "_lock", late)
    use = Use.begin(folder)
    assert (use is not None) is again
    if use is not None:
        assert not remove_unused(folder)
        use.end()


def test_nor_is_its_successor_removed_in_its_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(descriptor: int, how: int) -> None:
        monkeypatch.undo()
        (folder / "manifest.json").unlink()
        (folder / "manifest.json").write_text("{}")
        fcntl.flock(descriptor, how)

    monkeypatch.setattr(in_use, "_lock", late)
    assert not remove_unused(folder)
    assert folder.is_dir()


def refuse(code: int) -> Callable[[int, int], None]:
    def refused(_: int, __: int) -> None:
        raise OSError(code, os.strerror(code))

    return refused


def test_where_there_are_no_locks_everybody_is_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOSYS))
    use = begun(folder)
    assert remove_unused(folder)
    use.end()


def test_a_lock_that_fails_otherwise_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        Use.begin(folder)
    assert not remove_unused(folder)
