import os
import sys
from pathlib import Path
from typing import Any

import pytest

from detco_client.cli import app as module


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the command would replace itself by."""
    monkeypatch.delenv("DETCO_DATA_DIR", raising=False)

    def run(words: str) -> list[str]:
        commands: list[list[str]] = []

        def execv(path: str, command: list[str]) -> None:
            assert path == command[0] == sys.executable
            commands.append(command[1:])
            raise SystemExit(0)

        monkeypatch.setattr(os, "execv", execv)
        monkeypatch.setattr(sys, "argv", ["detco", *words.split()])
        with pytest.raises(SystemExit):
            module.main()
        (command,) = commands
        return command

    return run


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("up", "-P -m server --embedded"),
        ("up --data-dir /d --host 0.0.0.0 --port 0", "-P -m server --embedded --data-dir /d --host 0.0.0.0 --port 0"),
        ("serve", "-P -m server"),
        ("serve --only features --port 9000", "-P -m server --only features --port 9000"),
        ("work", "-P -m worker"),
        ("migrate", "-P -m control migrate"),
    ],
)
def test_a_verb_becomes_its_process(became: Any, words: str, command: str) -> None:
    assert became(words) == command.split()


def test_migrate_hands_the_data_folder_on(became: Any, tmp_path: Path) -> None:
    became(f"migrate --data-dir {tmp_path}")
    assert os.environ["DETCO_DATA_DIR"] == str(tmp_path)


def test_no_part_of_the_service_is_imported_here() -> None:
    heavy = ("server", "worker", "control", "torch", "onnxruntime", "fastapi")
    code = "import sys, detco_client.cli.app; print([m for m in sys.argv[1:] if m in sys.modules])"
    import subprocess

    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
