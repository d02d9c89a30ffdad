"""Who did what to what."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from control.db.models import AuditEntry
from control.db.session import database_time
from control.records.paging import Listing, Page, paginate


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries; what is None does not matter."""

    actor: str | None = None
    action: str | None = None
    """`token.revoke`, or all of a thing's as `token.*`."""
    target: str | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def note(
    session: Session,
    actor: str,
    action: str,
    target: str,
    details: Mapping[str, Any] | None = None,
    request_id: str | None = None,
) -> None:
    """Remember an act in the transaction that does it; `target` is an id or a reference such as `model@alias`."""
    session.add(
        AuditEntry(actor=actor, action=action, target=target, details=dict(details or {}), request_id=request_id)
    )


def list_entries(session: Session, wanted: Wanted | None = None, page: Page | None = None) -> Listing[AuditEntry]:
    """Entries, newest first."""
    wanted = wanted or Wanted()
    query = select(AuditEntry)
    for column, value in (
        (AuditEntry.actor, wanted.actor),
        (AuditEntry.target, wanted.target),
        (AuditEntry.request_id, wanted.request_id),
    ):
        query = query if value is None else query.where(column == value)
    if wanted.action is not None:
        stem = wanted.action.removesuffix("*")
        same = (
            AuditEntry.action == stem if stem == wanted.action else AuditEntry.action.startswith(stem, autoescape=True)
        )
        query = query.where(same)
    if wanted.since is not None:
        query = query.where(AuditEntry.time >= wanted.since)
    if wanted.until is not None:
        query = query.where(AuditEntry.time < wanted.until)
    return paginate(session, query, AuditEntry.id, page or Page())


def forget_old(session: Session, days: int) -> None:
    """Drop entries older than so many days."""
    session.execute(delete(AuditEntry).where(AuditEntry.time < database_time(session) - timedelta(days=days)))
