import logging
import time
from collections.abc import Callable

import pytest

from control import collector
from control.db.session import unit_of_work
from control.errors import StoreError
from control.records.journal import history
from control.records.runs import checkpoints
from tests.unit.worker.house import House
from worker.upkeep.cleaning import Cleaning


def until(cleaning: Cleaning, happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        cleaning.tend()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def steps(house: House, run_id: str) -> list[int]:
    return [row.step for row in house.ask(lambda s: history.list_checkpoints(s, run_id)).items]


def test_a_round_deletes_what_is_not_kept(house: House) -> None:
    run_id = house.pretraining()
    for step in (1, 2, 3):
        house.checkpoint(run_id, step, b"%d" % step)
    cleaning = Cleaning(house.settings, house.engine, house.store)
    until(cleaning, lambda: steps(house, run_id) == [3, 2])  # also what was saved before it began
    house.checkpoint(run_id, 4, b"4")
    with unit_of_work(house.engine) as session:
        checkpoints.reconsider(session, run_id)
    until(cleaning, lambda: steps(house, run_id) == [4, 3])


def test_rounds_do_not_meet_and_a_failed_one_is_waited_after(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def slow(*_: object) -> int:
        calls.append(time.monotonic())
        time.sleep(0.1)
        raise StoreError("the store is away")

    monkeypatch.setattr(collector, "look_after", slow)
    cleaning = Cleaning(house.settings, house.engine, house.store)
    with caplog.at_level(logging.WARNING):
        until(cleaning, lambda: "cleaning waits: the store is away" in caplog.text)
    for _ in range(10):
        cleaning.tend()
        time.sleep(0.01)
    assert len(calls) == 1
