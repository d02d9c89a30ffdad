"""Finding runs by label: a row for each, beside the document in the run that people read.

Kept up by the mapper, so that whoever changes a run's labels changes these as well; a deleted run takes them along.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, event, insert, inspect, select

from control.db.models import Run, RunLabel
from control.records.runs.bounds import check_labels


def has_label(label: str) -> ColumnElement[bool]:
    """The condition of a label given as `key` or `key=value`; raises `InvalidRequest` when it is none."""
    key, equals, value = label.partition("=")
    check_labels({key: value})
    found = select(RunLabel.run_id).where(RunLabel.key == key)
    return Run.id.in_(found.where(RunLabel.value == value) if equals else found)


@event.listens_for(Run, "after_insert")
def _write(_mapper: Any, connection: Connection, run: Run) -> None:
    if rows := [{"run_id": run.id, "key": key, "value": value} for key, value in run.labels.items()]:
        connection.execute(insert(RunLabel), rows)


@event.listens_for(Run, "after_update")
def _rewrite(mapper: Any, connection: Connection, run: Run) -> None:
    if inspect(run).attrs.labels.history.has_changes():
        connection.execute(delete(RunLabel).where(RunLabel.run_id == run.id))
        _write(mapper, connection, run)
