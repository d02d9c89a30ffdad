from pathlib import Path

import pytest

from control.__main__ import main
from control.db.migrate import at_head
from control.db.session import open_engine


def test_migrate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["migrate", "--data-dir", str(tmp_path)]) == 0
    engine = open_engine(f"sqlite:///{tmp_path}/detco.sqlite3")
    assert at_head(engine)
    engine.dispose()
    assert "has the tables of this version" in capsys.readouterr().err


def test_wrong_settings_are_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DETCO_PORT", "high")
    assert main(["migrate"]) == 1
    assert capsys.readouterr().err.startswith("DETCO_PORT: ")
