"""What a job prints is kept once, in order, however fast it prints and whatever is away."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.worker.house import House
from tests.unit.worker.output.printing import Printer
from worker.output import logs as module
from worker.output.logs import LogShipper, free, seal_loose, ship_rest


@pytest.fixture
def printer(house: House) -> Printer:
    return Printer(house)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROW_BYTES", 1000)
    monkeypatch.setattr(module, "PIECE_BYTES", 5000)
    monkeypatch.setattr(module, "STAYS", 8192)


def ship(shipper: LogShipper) -> None:
    while not shipper.ship():
        pass


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_rows_first_then_the_store(printer: Printer) -> None:
    shipper = printer.shipper()
    assert shipper.ship()  # before it has printed anything
    printer.say(b"one\n")
    ship(shipper)
    assert printer.kept() == b"one\n"
    printer.say(os.urandom(12_345))
    ship(shipper)
    shipper.seal()
    assert printer.kept() == printer.printed
    assert all(piece.key is not None for piece in printer.pieces())
    printer.say(b"more")
    ship(printer.shipper())  # another who goes on
    assert printer.kept() == printer.printed


def test_many_small_rows_go_to_the_store_too(printer: Printer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE_ROWS", 3)
    shipper = printer.shipper()
    for _ in range(4):
        printer.say(b"a line\n")
        ship(shipper)
    wait_until(lambda: any(piece.key for piece in printer.pieces()))
    assert printer.kept() == printer.printed


def test_a_store_that_is_away_loses_nothing(printer: Printer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    printer.store.is_away = True
    shipper = printer.shipper()
    for _ in range(5):
        printer.say(os.urandom(4_000))
        ship(shipper)
    shipper.seal()
    assert printer.kept() == printer.printed
    assert all(piece.key is None for piece in printer.pieces())
    printer.store.is_away = False
    seal_loose(printer.house.engine, printer.store, printer.mark, printer.folder)
    assert printer.kept() == printer.printed
    assert [piece.key is None for piece in printer.pieces()] == [False]


def test_neither_disk_nor_table_grows_without_bound(printer: Printer) -> None:
    shipper = printer.shipper(most=100_000)
    for _ in range(20):
        printer.say(os.urandom(25_000))
        ship(shipper)
        if shipper._sealing is not None:  # the test is faster than any job
            wait_until(shipper._sealing.done)
    shipper.seal()
    pieces = printer.pieces()
    assert sum(piece.size for piece in pieces) <= 100_000 + 25_000
    assert (pieces[0].start, pieces[-1].end) == (0, 500_000)
    kept = printer.kept()
    assert kept.startswith(printer.printed[:5_000])
    assert kept.endswith(printer.printed[-25_000:])
    log = (printer.folder / "log.txt").stat()
    assert log.st_size == 500_000
    assert log.st_blocks * 512 < 250_000


def test_one_who_prints_faster_than_we_read_keeps_its_end(printer: Printer) -> None:
    printer.say(b"a" * 3_000)
    shipper = printer.shipper(most=10_000)
    ship(shipper)
    printer.say(os.urandom(50_000))
    ship(shipper)
    # Rows may have become a piece in the store by now, or not.
    places = [(piece.start, piece.start + piece.size) for piece in printer.pieces()]
    assert (places[0][0], places[-1][1]) == (0, 53_000)
    assert all(end <= 3_000 or start >= 48_000 for start, end in places)
    assert printer.kept() == printer.printed[:3_000] + printer.printed[-5_000:]


def test_the_rest_of_a_dead_runner_is_taken_once(printer: Printer) -> None:
    printer.say(b"before ")
    ship(printer.shipper())
    printer.say(b"its last words")
    for _ in range(2):
        ship_rest(printer.house.engine, printer.mark, printer.folder, 2**30)
        assert printer.kept() == b"before its last words"


def test_what_is_given_back_to_the_disk_is_only_what_may_be(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)
    free(path, -5)
    free(path, 50_000)
    free(tmp_path / "none", 5)
    assert path.read_bytes()[50_000:] == b"x" * 50_000
    assert path.stat().st_size == 100_000
