"""Moments as numbers, on both databases."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, select

from control.db.models import AuditEntry
from control.db.moments import unix_time
from control.db.session import unit_of_work


def test_a_moment_is_its_seconds_since_1970(engine: Engine) -> None:
    moment = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
    with unit_of_work(engine) as session:
        session.add(AuditEntry(actor="a", action="b", target="c", details={}, time=moment))
        session.flush()
        assert session.scalar(select(unix_time(AuditEntry.time))) == pytest.approx(moment.timestamp(), abs=1e-3)
