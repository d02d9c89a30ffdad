"""Each reason to stop has its own deadline, counted from when it was first seen; the earliest one holds."""

import time
from collections.abc import Iterator
from typing import Literal

import pytest

from control.records.scheduling.gangs import Trouble
from control.states import DesiredState
from tests.unit.worker.house import House
from worker.attempts.lease import Lease
from worker.attempts.orders import SAVING_SHARE, Orders
from worker.processes import Leash, Mark

GRACE = 100.0
SHUTDOWN = 10.0


class Told:
    """A lease nobody keeps, a leash in our hand, and what follows from them."""

    def __init__(self, house: House) -> None:
        self.lease = Lease(house.engine, Mark("run_1", 1), house.settings)
        self.lease.grace = GRACE
        self.leash = Leash()
        self.orders = Orders(self.lease, self.leash.fd, SHUTDOWN)

    def seconds_left(self) -> float:
        deadline = self.orders.deadline()
        assert deadline is not None
        return deadline - time.monotonic()


@pytest.fixture
def told(house: House) -> Iterator[Told]:
    made = Told(house)
    yield made
    made.leash.let_go()
    made.leash.started()


def test_without_a_reason_the_job_goes_on(told: Told) -> None:
    assert told.orders.deadline() is None
    assert told.orders.patience() is None
    assert not told.orders.is_leaving
    assert not told.orders.only_finish


@pytest.mark.parametrize("wanted", ["pause", "cancel", "finish"])
def test_a_person_leaves_the_grace(told: Told, wanted: DesiredState) -> None:
    told.lease.wanted = wanted
    assert GRACE - 1 < told.seconds_left() <= GRACE
    assert told.orders.only_finish == (wanted == "finish")
    assert not told.orders.is_leaving


def test_time_runs_from_the_first_look(told: Told) -> None:
    told.lease.wanted = "cancel"
    first = told.orders.deadline()
    time.sleep(0.02)
    assert told.orders.deadline() == first


def test_kill_and_staleness_leave_nothing(told: Told) -> None:
    told.lease.wanted = "cancel"
    assert told.seconds_left() > 1
    told.lease.wanted = "kill"
    assert told.seconds_left() <= 0
    other = Orders(told.lease, told.leash.fd, SHUTDOWN)
    told.lease.wanted, told.lease.is_stale = "run", True
    assert (other.deadline() or 0) <= time.monotonic()


@pytest.mark.parametrize(("kind", "seconds"), [("lost", 5.0), ("failed", 30.0), ("left", GRACE)])
def test_the_trouble_of_another_host_ends_the_job(
    told: Told, kind: Literal["lost", "failed", "left"], seconds: float
) -> None:
    told.lease.wanted, told.lease.trouble = "cancel", Trouble(kind, "node 1")
    assert told.seconds_left() > 5, "who is stopping has less to fear"
    told.lease.wanted = "run"
    assert told.seconds_left() <= min(seconds, GRACE)
    assert not told.orders.is_leaving
    assert told.orders.patience() == told.orders._deadlines["cancel"]


def test_a_leaving_worker_leaves_its_share(told: Told) -> None:
    told.leash.let_go()
    assert SHUTDOWN * SAVING_SHARE - 1 < told.seconds_left() <= SHUTDOWN * SAVING_SHARE
    assert told.orders.is_leaving


def test_so_does_sigterm_to_the_runner(told: Told) -> None:
    told.orders.dismiss()
    assert told.orders.is_leaving
    assert told.seconds_left() <= SHUTDOWN * SAVING_SHARE


def test_a_lapsed_lease_ends_the_job_but_not_the_patience(house: House) -> None:
    settings = house.settings.model_copy(update={"lease_seconds": 0.001})
    leash = Leash()
    orders = Orders(Lease(house.engine, Mark("run_1", 1), settings), leash.fd, SHUTDOWN)
    time.sleep(0.01)
    assert orders.deadline() is not None
    assert orders.is_leaving
    assert orders.patience() is None
    leash.started()
    leash.let_go()


def test_finish_with_another_reason_is_not_finish_alone(told: Told) -> None:
    told.lease.wanted = "finish"
    told.leash.let_go()
    assert not told.orders.only_finish


def test_a_silent_job_and_one_whose_time_is_used_up_have_the_grace_and_no_hurry(told: Told) -> None:
    told.lease.seconds_left = 3600.0
    assert told.orders.deadline() is None
    told.orders.listen(lambda: told.lease.idle_seconds)
    assert GRACE - 1 < told.seconds_left() <= GRACE
    assert (told.orders.limit, told.orders.is_leaving, told.orders.patience()) == ("idle", False, None)
    told.lease.seconds_left = 0.0
    assert told.orders.limit == "time_limit"


def test_who_makes_room_leaves_and_is_worth_waiting_for(told: Told) -> None:
    told.lease.wanted = "preempt"
    assert (told.orders.is_leaving, told.orders.only_save, told.orders.is_steered) == (True, True, False)
    told.lease.wanted = "pause"
    assert (told.orders.is_leaving, told.orders.only_save, told.orders.is_steered) == (True, False, True)
