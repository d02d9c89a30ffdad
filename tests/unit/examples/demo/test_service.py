import subprocess
import sys
import time
from pathlib import Path

import pytest

from examples.demo import service as module
from examples.demo.service import Service, ServiceTrouble

pytestmark = pytest.mark.slow
SLEEP = "import time; time.sleep(60)"


def test_a_service_that_cannot_start_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMAND", ("-c", "print('no such thing'); raise SystemExit(3)"))
    with pytest.raises(ServiceTrouble, match="ended with 3"), Service(tmp_path / "data", tmp_path / "log", ()):
        pass
    assert "no such thing" in (tmp_path / "log").read_text()


def test_a_service_that_never_gets_ready_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMAND", ("-c", SLEEP))
    monkeypatch.setattr(module, "READY_SECONDS", 0.5)
    service = Service(tmp_path / "data", tmp_path / "log", ())
    with pytest.raises(ServiceTrouble, match="not ready"), service:
        pass
    assert service.process is not None
    assert service.process.poll() is not None


def test_what_a_service_leaves_behind_is_ended_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(tmp_path / "data", tmp_path / "log", ())
    service.data.mkdir()
    service.started = time.time()
    service.process = subprocess.Popen([sys.executable, "-c", SLEEP])
    orphan = subprocess.Popen([sys.executable, "-c", SLEEP], cwd=service.data)
    stranger = subprocess.Popen(["sleep", "60"], cwd=service.data)
    try:
        with pytest.raises(ServiceTrouble, match=str(orphan.pid)):
            service.stop()
        assert orphan.wait(10) != 0
        assert stranger.poll() is None, "a process that is none of ours"
    finally:
        for process in (orphan, stranger):
            process.kill()
            process.wait()


def test_nothing_answers_where_nothing_runs(tmp_path: Path) -> None:
    service = Service(tmp_path, tmp_path / "log", ())
    assert not service.answers()
    (tmp_path / "server.json").write_text('{"url": "http://127.0.0.1:9", "pid": 1}')
    (tmp_path / "token").write_text("t")
    assert not service.answers()
