"""The lease is kept, says what is wanted, and never seems longer than it is."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

import pytest

from control.db.session import unit_of_work
from control.records.life import leases
from control.records.runs.actions import request_action
from control.records.runs.runs import get_run
from control.records.scheduling.claims import Claim
from control.settings import Settings
from tests.unit.worker.house import House
from worker.attempts.lease import Lease
from worker.processes import Mark


@dataclass
class Held:
    house: House
    claim: Claim
    lease: Lease

    def expiry(self) -> datetime:
        expires = self.house.run(self.claim.run_id).lease_expires_at
        assert expires is not None
        return expires

    def wait(self, happened: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not happened():
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def held(house: House) -> Iterator[Held]:
    house.pretraining()
    claim = house.claim()
    settings = Settings(**house.settings.model_dump() | {"lease_seconds": 100.0, "heartbeat_seconds": 0.1})
    lease = Lease(house.engine, Mark(claim.run_id, claim.fence), settings)
    yield Held(house, claim, lease)
    lease.leave()
    if lease.ident is not None:
        lease.join()


def test_it_is_renewed_again_and_again(held: Held) -> None:
    first = held.expiry()
    held.lease.start()
    held.wait(lambda: held.expiry() > first)
    second = held.expiry()
    held.wait(lambda: held.expiry() > second)
    assert not held.lease.is_lapsed


def test_the_start_of_the_job_is_announced(held: Held) -> None:
    held.lease.start()
    held.lease.announce()
    held.wait(lambda: held.house.run(held.claim.run_id).state == "running")
    assert held.house.attempts(held.claim.run_id)[0].pid == os.getpid()


def test_what_is_wanted_is_seen(held: Held) -> None:
    held.lease.start()
    with unit_of_work(held.house.engine) as session:
        run = get_run(session, held.claim.run_id)
        run.grace_seconds = 3.5
        request_action(session, run, "pause", "test")
    held.wait(lambda: held.lease.wanted == "pause")
    assert held.lease.grace == 3.5


def test_a_run_taken_away_makes_it_stale(held: Held) -> None:
    held.lease.start()
    held.house.close(held.claim)
    held.wait(lambda: held.lease.is_stale)
    held.lease.join(20)
    assert not held.lease.is_alive()


def test_it_lapses_while_the_database_is_away_and_comes_back_with_it(held: Held) -> None:
    settings = Settings(**held.house.settings.model_dump() | {"lease_seconds": 0.5, "heartbeat_seconds": 0.1})
    lease = Lease(held.house.engine, Mark(held.claim.run_id, held.claim.fence), settings)
    with closing(sqlite3.connect(held.house.settings.data_dir / "detco.sqlite3", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        lease.start()
        held.wait(lambda: lease.is_lapsed)
        writer.execute("ROLLBACK")
    held.wait(lambda: not lease.is_lapsed)
    assert not lease.is_stale
    lease.leave()
    lease.join(20)


def test_left_it_renews_no_more(held: Held) -> None:
    held.lease.start()
    held.lease.leave()
    held.lease.join(20)
    assert not held.lease.is_alive()
    with unit_of_work(held.house.engine) as session:
        assert leases.look(session, held.claim.run_id, held.claim.fence) is not None
