"""What every DELETE has: a rehearsal, and a line in the audit."""

from typing import Annotated

from fastapi import Query, Request
from sqlalchemy.orm import Session

from control.records.access import audit
from control.records.access.principals import Principal
from control.records.store.removals import Removed
from server.http.problems import request_id

DryRun = Annotated[bool, Query(description="Say what would be done; do nothing.")]


def note_deletion(
    session: Session, who: Principal, request: Request, action: str, removed: Removed, *, dry_run: bool
) -> None:
    """Remember who deleted what; a rehearsal leaves no trace."""
    if not dry_run:
        details = {"bytes": removed.bytes, "derived": list(removed.derived)}
        audit.note(session, who.name, action, removed.target, details, request_id=request_id(request.scope))
