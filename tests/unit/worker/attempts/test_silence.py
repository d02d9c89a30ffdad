from pathlib import Path
from types import SimpleNamespace

import pytest

from worker.attempts import silence as module
from worker.attempts.silence import Silence


def test_a_file_that_grows_is_no_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    events = tmp_path / "events.jsonl"
    silence = Silence(events)
    now[0] += 3
    assert silence.seconds() == 3, "a job that never says a word is silent from its start"
    events.write_text("one\n")
    assert silence.seconds() == 0
    now[0] += 2
    assert silence.seconds() == 2
