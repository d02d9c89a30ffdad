"""What jobs have taken, added up by whose they are, their group, their labels or their kind, within a time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, String, Subquery, and_, case, cast, func, literal, or_, select
from sqlalchemy.orm import Session

from control.db.base import Words
from control.db.models import Attempt, Run
from control.db.moments import unix_time
from control.db.session import database_time
from control.errors import InvalidRequest
from control.records.paging import Listing, Page, check_size, last_of, token_of

UsageBy = Literal["token", "label", "group", "kind"]
_FIRST_YEAR, _LAST_YEAR = 1970, 9998


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What the jobs of one key have taken."""

    key: str | None
    """A token's name, a group, a kind, or `label=value`; None: jobs of no group."""
    jobs: int
    """That workers held within the time."""
    attempts: int
    gpu_seconds: float
    """GPUs times the seconds they were held, within the time."""
    cpu_seconds: float | None
    """Of processes that have ended, in proportion to the time; None where none was measured."""
    bytes: int
    """What these jobs have in the store now."""


@dataclass(frozen=True, slots=True)
class Window:
    """From `since` (None: the beginning) up to `until`."""

    since: datetime | None
    until: datetime


def window(session: Session, since: datetime | None = None, until: datetime | None = None) -> Window:
    """The time that is asked for, up to now where no end is given; raises `InvalidRequest`."""
    for name, moment in (("since", since), ("until", until)):
        if moment is not None and not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
            raise InvalidRequest(name, f"must lie between the years {_FIRST_YEAR} and {_LAST_YEAR}")
    end = until or database_time(session)
    if since is not None and since >= end:
        raise InvalidRequest("since", "must be before until, and before now")
    return Window(since, end)


def usage(session: Session, by: UsageBy, within: Window, page: Page) -> Listing[Usage]:
    """One page of usage, by key; a job with several labels counts under each of them.

    Raises:
        InvalidRequest: when the page's token or size is not one of ours.
    """
    check_size(page)
    jobs = _of_jobs(within, database_time(session))
    key = _key(session, by)
    totals = (
        func.count().label("jobs"),
        func.sum(jobs.c.attempts).label("attempts"),
        func.sum(jobs.c.gpu_seconds).label("gpu_seconds"),
        func.sum(jobs.c.cpu_seconds).label("cpu_seconds"),
        func.sum(Run.stored_bytes).label("bytes"),
    )
    query = select(key.label("key"), *totals).join(jobs, jobs.c.run_id == Run.id)
    if page.token is not None:
        query = query.where(key > literal(last_of(f"usage by {by}", page.token), Words()))
    rows = session.execute(query.group_by(key).order_by(key).limit(page.size + 1)).all()
    items = [_usage(row) for row in rows[: page.size]]
    more = len(rows) > page.size
    return Listing(items, token_of(f"usage by {by}", rows[page.size - 1].key) if more else None)


def _of_jobs(within: Window, now: datetime) -> Subquery:
    """What every job has taken, from those of its attempts that went on within the time."""
    began = unix_time(Attempt.created_at)
    ended = func.coalesce(unix_time(Attempt.ended_at), now.timestamp())
    first, last = within.since.timestamp() if within.since else 0.0, within.until.timestamp()
    inside = _lesser(ended, last) - _greater(began, first)
    share = case((ended > began, inside / (ended - began)), else_=1.0)
    overlaps = [Attempt.created_at < within.until]
    if within.since is not None:
        overlaps.append(or_(Attempt.ended_at.is_(None), Attempt.ended_at > within.since))
    query = select(
        Attempt.run_id,
        func.count().label("attempts"),
        func.sum(inside * Attempt.gpus).label("gpu_seconds"),
        func.sum(Attempt.cpu_seconds * share).label("cpu_seconds"),
    )
    return query.where(and_(*overlaps)).group_by(Attempt.run_id).subquery()


def _key(session: Session, by: UsageBy) -> ColumnElement[str]:
    if by == "token":
        return Run.created_by.expression
    if by == "kind":
        return Run.kind.expression
    if by == "group":
        return func.coalesce(Run.group, literal("", Words()))
    each = func.json_each if session.get_bind().dialect.name == "sqlite" else func.jsonb_each_text
    labels = each(Run.labels).table_valued("key", "value", joins_implicitly=True)
    return cast(labels.c.key, String) + "=" + cast(labels.c.value, String)


def _usage(row: Any) -> Usage:
    return Usage(
        key=row.key or None,
        jobs=row.jobs,
        attempts=int(row.attempts),
        gpu_seconds=float(row.gpu_seconds),
        cpu_seconds=None if row.cpu_seconds is None else float(row.cpu_seconds),
        bytes=int(row.bytes),
    )


def _lesser(one: ColumnElement[float], other: float) -> ColumnElement[float]:
    return case((one > other, other), else_=one)


def _greater(one: ColumnElement[float], other: float) -> ColumnElement[float]:
    return case((one < other, other), else_=one)
