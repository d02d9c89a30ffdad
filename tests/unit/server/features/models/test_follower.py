"""Following the catalogue: restored first, then asked again and again, whatever it answers."""

import threading
from collections.abc import Callable

import pytest

from server.features.models.follower import Follower

Until = Callable[[Callable[[], bool]], None]


class Catalogue:
    """Answers when it may, with `trouble` if there is some."""

    def __init__(self) -> None:
        self.may_answer = threading.Semaphore(0)
        self.trouble: Exception | None = None
        self.done: list[str] = []

    def restore(self) -> None:
        self.done.append("restored")

    def look(self) -> None:
        assert self.may_answer.acquire(timeout=60)
        self.done.append("looked")
        if self.trouble is not None:
            raise self.trouble


def test_it_restores_once_and_looks_again_and_again(until: Until) -> None:
    catalogue = Catalogue()
    follower = Follower(catalogue.restore, catalogue.look, 0.001)
    before = follower.has_looked
    follower.start()
    catalogue.may_answer.release(3)
    until(lambda: catalogue.done == ["restored", "looked", "looked", "looked"])
    assert (before, follower.has_looked) == (False, True)
    follower._stop.set()
    catalogue.may_answer.release()
    follower.close()
    follower._thread.join(120)  # closing waits less than a busy machine may take
    assert not follower._thread.is_alive()


def test_an_outage_is_known_and_said_once_when_it_begins_and_when_it_ends(
    until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    catalogue = Catalogue()
    catalogue.trouble = ConnectionError("gone")
    follower = Follower(catalogue.restore, catalogue.look, 0.001)
    follower.start()
    catalogue.may_answer.release(3)
    until(lambda: follower.down == "gone" and len(catalogue.done) == 4)
    catalogue.trouble = None
    catalogue.may_answer.release()
    until(lambda: follower.down is None)
    assert caplog.text.count("cannot be asked") == caplog.text.count("can be asked again") == 1
    follower._stop.set()
    catalogue.may_answer.release()
    follower.close()


def test_one_that_was_never_started_is_closed_at_once() -> None:
    Follower(lambda: None, lambda: None, 1000).close()
