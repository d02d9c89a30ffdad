"""Requests to stop, by real signals."""

import os
import signal

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
