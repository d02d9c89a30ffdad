"""Attempt folders: found by mark, locked by whoever works in them, trimmed and removed in time."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from worker.attempts.folder import (
    KEEP_SECONDS,
    all_folders,
    attempt_folder,
    discard,
    is_occupied,
    is_old,
    occupy,
    open_folder,
    trim,
)
from worker.processes import Mark

MARK = Mark("run_1", 3)
SHARE = Mark("run_1", 3, node=1)


def test_a_folder_is_private_and_found_again(tmp_path: Path) -> None:
    folder = open_folder(tmp_path, MARK)
    assert folder == attempt_folder(tmp_path, MARK) == tmp_path / "run_1" / "attempt-3"
    assert folder.stat().st_mode & 0o077 == 0
    assert open_folder(tmp_path, MARK) == folder
    (tmp_path / "run_1" / "attempt-x").mkdir()
    (tmp_path / "run_1" / "attempt-4").touch()
    assert list(all_folders(tmp_path)) == [(MARK, folder)]


class TestLock:
    def test_is_held_until_closed(self, tmp_path: Path) -> None:
        assert not is_occupied(tmp_path)
        lock = occupy(tmp_path)
        assert is_occupied(tmp_path)
        with pytest.raises(BlockingIOError):
            occupy(tmp_path, patience=0.1)
        os.close(lock)
        assert not is_occupied(tmp_path)

    def test_passes_to_a_process_and_ends_with_it(self, tmp_path: Path) -> None:
        lock = occupy(tmp_path)
        holder = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=[lock])
        os.close(lock)
        assert is_occupied(tmp_path)
        holder.kill()
        holder.wait()
        assert not is_occupied(tmp_path)


def test_trimming_leaves_what_a_person_may_want_to_read(tmp_path: Path) -> None:
    folder = open_folder(tmp_path, MARK)
    for name in ("job.json", "events.jsonl", "log.txt", "resume.pt"):
        (folder / name).touch()
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "step-1.pt").touch()
    (folder / "bundle").symlink_to(tmp_path)
    trim(folder)
    assert {path.name for path in folder.iterdir()} == {"job.json", "events.jsonl", "log.txt"}
    assert tmp_path.exists()
    trim(tmp_path / "not there")


def test_discarding_removes_the_last_folder_of_a_run_with_it(tmp_path: Path) -> None:
    first, second = open_folder(tmp_path, MARK), open_folder(tmp_path, Mark("run_1", 4))
    discard(first)
    assert not first.exists()
    assert second.exists()
    discard(second)
    assert list(tmp_path.iterdir()) == []


def test_the_hosts_of_one_attempt_may_share_a_folder(tmp_path: Path) -> None:
    folders = {mark: open_folder(tmp_path, mark) for mark in (MARK, SHARE)}
    assert folders[SHARE].name == "attempt-3-node-1"
    assert dict(all_folders(tmp_path)) == folders


def test_age_counts_from_the_last_touch(tmp_path: Path) -> None:
    folder = open_folder(tmp_path, MARK)
    log = folder / "log.txt"
    log.touch()
    past = time.time() - KEEP_SECONDS - 60
    os.utime(folder, (past, past))
    assert not is_old(folder)
    os.utime(log, (past, past))
    assert is_old(folder)
