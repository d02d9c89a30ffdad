"""Takes away the rows of deleted runs, a few thousand at a time."""

from sqlalchemy import Table, delete, select, tuple_
from sqlalchemy.orm import Session

from control.db.base import Base
from control.db.models import Deletion, Run
from control.db.session import database_time

PURGED = (
    *("metrics", "metric_latest", "events", "log_pieces", "attempt_nodes", "attempts", "artifacts"),
    *("run_dependencies", "run_uses", "monitor_evaluations"),
)
"""Tables whose rows of a run go with it."""
KEPT = ("checkpoints", "model_versions", "run_labels", "slots", "sweep_runs")
"""Tables that point at runs, and whose rows stay: a deleted run counts in the usage, and may be somebody's origin."""
_BATCH = 5000


def pending(session: Session) -> list[str]:
    """Deletions of which rows are left, oldest first."""
    query = select(Deletion.id).where(Deletion.state == "deleting").order_by(Deletion.id)
    return list(session.scalars(query.limit(100)))


def step(session: Session, deletion_id: str) -> bool:
    """Take away some rows; True when none is left, which ends the deletion."""
    deletion = session.get(Deletion, deletion_id, with_for_update=True, populate_existing=True)
    if deletion is None or deletion.state == "deleted":
        return True
    left = _BATCH
    for name in PURGED:
        table = Base.metadata.tables[name]
        left -= _take(session, table, deletion.runs, left)
        if left <= 0:
            return False
    deletion.state, deletion.finished_at = "deleted", database_time(session)
    return True


def pointing_at_runs() -> set[str]:
    """Every table with a key to a run."""
    runs = Run.__table__
    return {
        table.name
        for table in Base.metadata.tables.values()
        if any(key.column.table is runs for key in table.foreign_keys)
    }


def _take(session: Session, table: Table, runs: list[str], limit: int) -> int:
    key = tuple_(*table.primary_key.columns)
    some = select(*table.primary_key.columns).where(table.c.run_id.in_(runs)).limit(limit)
    result = session.execute(delete(table).where(key.in_(some)))
    return int(getattr(result, "rowcount", 0))
