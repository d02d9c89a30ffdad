"""The data folder: one embedded service in it, and its address for local tools."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from control.errors import SettingsError
from server import data_folder

HOLDER = (
    "import sys; from pathlib import Path; from server import data_folder\n"
    "with data_folder.alone(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
)


def test_enter_makes_a_folder_for_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data_folder.enter(tmp_path / "a" / "b")
    assert Path.cwd() == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_the_address_is_there_as_long_as_the_service(tmp_path: Path) -> None:
    with data_folder.announced(tmp_path, "http://127.0.0.1:1", 7):
        assert json.loads((tmp_path / "server.json").read_text()) == {"url": "http://127.0.0.1:1", "pid": 7}
    assert list(tmp_path.iterdir()) == []


def test_another_service_address_is_left_alone(tmp_path: Path) -> None:
    with data_folder.announced(tmp_path, "http://127.0.0.1:1", 7):
        (tmp_path / "server.json").write_text('{"url": "http://127.0.0.1:2", "pid": 8}')
    assert json.loads((tmp_path / "server.json").read_text())["pid"] == 8


@pytest.mark.slow
def test_one_embedded_service_a_folder(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        (tmp_path / "server.json").write_text(json.dumps({"url": "http://127.0.0.1:5", "pid": other.pid}))
        with pytest.raises(SettingsError, match=f"pid {other.pid}, http://127.0.0.1:5"), data_folder.alone(tmp_path):
            pass
        other.kill()
    with data_folder.alone(tmp_path):
        pass
