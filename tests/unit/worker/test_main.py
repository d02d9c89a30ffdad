"""The command line: settings that are wrong are named, and processes started later read the same ones."""

import subprocess
import sys
from pathlib import Path

import pytest

from worker.launch import package_environment


def run(code: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in package_environment().items() if not k.startswith("DETCO_")} | settings
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.slow
def test_wrong_settings_are_named(tmp_path: Path) -> None:
    done = run("import sys; from worker.__main__ import main; sys.exit(main([]))", tmp_path, DETCO_LEASE_SECONDS="-1")
    assert done.returncode == 1
    assert "DETCO_LEASE_SECONDS" in done.stderr


@pytest.mark.slow
def test_relative_paths_hold_for_processes_with_another_folder(tmp_path: Path) -> None:
    (tmp_path / "level").write_text("DEBUG")
    code = """
import os
from control.settings import load_settings
from worker.__main__ import _settle_in
settings = load_settings(data_dir="data")
_settle_in(settings.data_dir)
assert load_settings() == settings
print(os.getcwd(), os.environ["DETCO_DATA_DIR"])
"""
    done = run(code, tmp_path, DETCO_LOG_LEVEL_FILE="level")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "data")] * 2
