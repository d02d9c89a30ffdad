"""A log is there while its processes run, and whole when they have ended."""

import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy.exc import OperationalError

from tests.unit.worker.house import House
from tests.unit.worker.output.printing import Printer
from worker.output import log_feed
from worker.output.log_feed import LogFeed
from worker.output.logs import ship_rest


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_feed, "_PULSE", 0.01)
    monkeypatch.setattr(log_feed, "RETRY_SECONDS", 0.01)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_printed_is_there_while_it_runs_and_whole_at_its_end(house: House) -> None:
    printer = Printer(house)
    feed = LogFeed(printer.shipper())
    feed.start()
    for line in (b"one\n", b"two\n"):
        printer.say(line)
        wait_until(lambda: printer.kept() == printer.printed)
    printer.say(b"the last words")
    feed.finish()
    assert printer.kept() == printer.printed


def test_a_database_that_is_away_is_waited_for_and_holds_up_no_end(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    printer = Printer(house)
    shipper = printer.shipper()
    ship, away, turn = shipper.ship, [True], threading.Lock()

    def shaky() -> bool:
        with turn:
            if away[0]:
                raise OperationalError("select", {}, Exception("gone"))
            return ship()

    monkeypatch.setattr(shipper, "ship", shaky)
    feed = LogFeed(shipper)
    feed.start()
    printer.say(b"one\n")
    wait_until(lambda: "waits in its file" in caplog.text)
    away[0] = False
    wait_until(lambda: printer.kept() == printer.printed)
    with turn:  # it is not in the midst of it
        away[0] = True
    printer.say(b"two\n")
    feed.finish()
    assert printer.kept() == b"one\n"
    ship_rest(house.engine, printer.mark, printer.folder, 2**30)
    assert printer.kept() == printer.printed
