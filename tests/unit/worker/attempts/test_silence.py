import time
from pathlib import Path

from worker.attempts.silence import Silence


def test_a_file_that_grows_is_no_silence(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    silence = Silence(events)
    time.sleep(0.03)
    assert silence.seconds() >= 0.03, "a job that never says a word is silent from its start"
    events.write_text("one\n")
    assert silence.seconds() < 0.03
    time.sleep(0.03)
    assert silence.seconds() >= 0.03
