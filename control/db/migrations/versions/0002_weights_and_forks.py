"""What imported weights, forks and measured channels need."""

import sqlalchemy as sa
from alembic import op

from control.db.migrations.tables_0001.types import JSON, WORDS

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = (
    ("dataset_versions", "statistics", JSON),
    ("weights", "file_digest", WORDS),
    ("weights", "file_bytes", sa.BigInteger()),
    ("model_versions", "weights_id", WORDS),
    ("runs", "forked_from", WORDS),
)


def upgrade() -> None:
    for table, name, kind in COLUMNS:
        op.add_column(table, sa.Column(name, kind, nullable=True))
    op.create_index("ix_runs_forked_from", "runs", ["forked_from"])
    # Warnings are few among events that are many.
    op.create_index("ix_events_run_id_type_id", "events", ["run_id", "type", "id"])


def downgrade() -> None:
    op.drop_index("ix_events_run_id_type_id", "events")
    op.drop_index("ix_runs_forked_from", "runs")
    for table, name, _ in reversed(COLUMNS):
        op.drop_column(table, name)
