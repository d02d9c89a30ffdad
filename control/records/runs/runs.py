"""Finding runs: by id, and as lists."""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.models import Run
from control.errors import NotFound
from control.records.names import NOUNS
from control.records.paging import Listing, Page, paginate
from control.records.runs.labels import has_label


def get_run(session: Session, run_id: str, kinds: Collection[str] | None = None) -> Run:
    """The run; raises `NotFound` also when it is of another kind than `kinds`."""
    run = session.get(Run, run_id)
    if run is None or run.deleted_at is not None or (kinds is not None and run.kind not in kinds):
        noun = NOUNS[next(iter(kinds))] if kinds and len(kinds) == 1 else "run"
        raise NotFound(noun, run_id)
    return run


def is_deleted(session: Session, run_id: str) -> bool:
    """Whether somebody deleted the run."""
    return session.scalar(select(Run.deleted_at).where(Run.id == run_id)) is not None


def list_runs(
    session: Session,
    kinds: Collection[str],
    *,
    state: str | None = None,
    label: str | None = None,
    group: str | None = None,
    page: Page | None = None,
) -> Listing[Run]:
    """Runs of these kinds, newest first; `label` is `key` or `key=value`."""
    query = select(Run).where(Run.kind.in_(kinds), Run.deleted_at.is_(None))
    if state is not None:
        query = query.where(Run.state == state)
    if group is not None:
        query = query.where(Run.group == group)
    if label is not None:
        query = query.where(has_label(label))
    return paginate(session, query, Run.id, page or Page())
