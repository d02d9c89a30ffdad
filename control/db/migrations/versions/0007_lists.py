"""Long lists of runs: by label, and by kind and state, newest first."""

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from control.db.migrations.tables_0001.types import WORDS

revision = "0007c"
down_revision = "0009"
branch_labels = None
depends_on = None

BATCH = 1000


def upgrade() -> None:
    labels = op.create_table(
        "run_labels",
        sa.Column("run_id", WORDS, nullable=False),
        sa.Column("key", WORDS, nullable=False),
        sa.Column("value", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "key", name="pk_run_labels"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_labels_run_id_runs", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_run_labels_key_value_run_id", "run_labels", ["key", "value", "run_id"])
    op.create_index("ix_runs_kind_id", "runs", ["kind", "id"])
    op.create_index("ix_runs_kind_state_id", "runs", ["kind", "state", "id"])
    for rows in _labels_there_are():
        op.bulk_insert(labels, rows)


def downgrade() -> None:
    op.drop_index("ix_runs_kind_state_id", "runs")
    op.drop_index("ix_runs_kind_id", "runs")
    op.drop_table("run_labels")


def _labels_there_are() -> Iterator[list[dict[str, Any]]]:
    last = ""
    next_runs = sa.text("SELECT id, labels FROM runs WHERE id > :last ORDER BY id LIMIT :batch")
    while runs := op.get_bind().execute(next_runs, {"last": last, "batch": BATCH}).all():
        last = runs[-1].id
        pairs = ((run.id, json.loads(run.labels) if isinstance(run.labels, str) else run.labels) for run in runs)
        yield [{"run_id": id, "key": key, "value": value} for id, labels in pairs for key, value in labels.items()]
