"""Which queued runs only wait for a place: what `claims` may take, what `waiting` counts, what `preemption` makes room
for. Where a place may be, and whether there is one, is the claims' own question.
"""

from datetime import datetime
from functools import cache

from sqlalchemy import ColumnElement, and_, exists, literal, or_, select
from sqlalchemy.orm import aliased

from control.db.models import DatasetVersion, Run, RunDependency
from control.records.access import quotas
from control.records.scheduling import sweep_limit

MOST_URGENT = (Run.priority.desc(), Run.id)
"""Order of a queue: the larger priority first, then the older run."""


def not_after(priority: int, run_id: str) -> ColumnElement[bool]:
    """Condition on `Run`: in the order of the queue it is that run, or comes before it."""
    return or_(Run.priority > priority, and_(Run.priority == priority, Run.id <= run_id))


def ready(now: datetime | None = None) -> tuple[ColumnElement[bool], ...]:
    """Conditions on `Run`: queued, data set scanned, what it comes after completed, within its token's quota and what
    its sweep may have at once.

    And not backing off at `now`; None: that is not looked at.
    """
    if now is None:
        return _at_any_time()
    return (*_at_any_time(), or_(Run.not_before.is_(None), Run.not_before <= now))


@cache
def _at_any_time() -> tuple[ColumnElement[bool], ...]:
    """Built once: putting these expressions together takes longer than the database takes to answer them."""
    return (
        Run.state == "queued",
        _data_are_ready(),
        ~_waits_for_another(),
        quotas.within(),
        sweep_limit.within(),
    )


def _data_are_ready() -> ColumnElement[bool]:
    scanned = select(literal(1)).where(DatasetVersion.id == Run.dataset_version_id, DatasetVersion.state == "ready")
    return or_(Run.dataset_version_id.is_(None), Run.kind == "check", exists(scanned.correlate(Run)))


def _waits_for_another() -> ColumnElement[bool]:
    before = aliased(Run)
    unfinished = (
        select(literal(1))
        .select_from(RunDependency)
        .join(before, before.id == RunDependency.after_id)
        .where(RunDependency.run_id == Run.id, before.state != "completed")
    )
    return exists(unfinished.correlate(Run))
