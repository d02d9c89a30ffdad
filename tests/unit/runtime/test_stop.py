"""Requests to stop, by real signals."""

import os
import signal
import sys

import pytest

from detco_core.runtime.stop import Interrupted, StopRequest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_remembered(number: int) -> None:
    with StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with StopRequest():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_second_ctrl_c_means_now() -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested


def test_a_person_at_a_terminal_is_told_what_happens(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """On file descriptor 2 itself; the launcher's other processes, and a launcher's SIGTERM, say nothing."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "fileno", lambda: 2)
    for rank, number, told in (("1", signal.SIGINT, ""), ("0", signal.SIGTERM, ""), ("0", signal.SIGINT, "again")):
        monkeypatch.setenv("RANK", rank)
        with StopRequest():
            os.kill(os.getpid(), number)
        assert told in (said := capfd.readouterr().err)
        assert bool(said) == bool(told)


def test_sigterm_may_come_twice() -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested


def test_work_with_nothing_to_save_is_interrupted() -> None:
    with StopRequest() as stop:
        with pytest.raises(Interrupted), stop.interrupting():
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted), stop.interrupting():
            pytest.fail("asked before it began")
        os.kill(os.getpid(), signal.SIGTERM)


def test_no_except_clause_for_errors_swallows_it() -> None:
    assert not issubclass(Interrupted, Exception)
