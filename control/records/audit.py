"""Who did what to what."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.models import AuditEntry
from control.records.paging import Listing, Page, paginate


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


def list_entries(session: Session, target: str | None = None, page: Page | None = None) -> Listing[AuditEntry]:
    """Entries, newest first."""
    query = select(AuditEntry)
    if target is not None:
        query = query.where(AuditEntry.target == target)
    return paginate(session, query, AuditEntry.id, page or Page())
