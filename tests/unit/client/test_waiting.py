from typing import Any

import pytest

from detco_client import waiting
from detco_client.errors import CannotConnect
from detco_client.waiting import wait


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PAUSE_SECONDS", 0.0)


def answers(*found: str | Exception) -> Any:
    left = list(found)

    def ask() -> dict[str, Any]:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"state": answer}

    return ask


def test_a_service_that_restarts_does_not_end_the_wait() -> None:
    away = CannotConnect("http://service", "refused")
    ask = answers("running", away, away, "running", away, "completed")
    assert wait(ask, "run", good={"completed"}, bad={"failed"})["state"] == "completed"


def test_a_service_that_stays_away_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_SECONDS", 0.0)
    ask = answers("running", *[CannotConnect("http://service", "refused")] * 10_000)
    with pytest.raises(CannotConnect):
        wait(ask, "run", good={"completed"}, bad={"failed"})
