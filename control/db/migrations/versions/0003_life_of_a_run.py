"""Quotas, limits and preemption of runs; why an attempt ended."""

import sqlalchemy as sa
from alembic import op

from control.db.migrations.tables_0001.types import TIME, WORDS

revision = "0003"
down_revision = "0005"
branch_labels = None
depends_on = None

COLUMNS = (
    ("runs", "token_id", WORDS, None),
    ("runs", "preemptible", sa.Boolean(), sa.true()),
    ("runs", "preempt", sa.Boolean(), sa.false()),
    ("runs", "reserved_host", WORDS, None),
    ("runs", "reserved_until", TIME, None),
    ("runs", "max_seconds", sa.Float(), None),
    ("runs", "idle_seconds", sa.Float(), None),
    ("runs", "worked_seconds", sa.Float(), sa.text("0")),
    ("attempts", "cause", WORDS, None),
    ("attempts", "signal", WORDS, None),
    ("tokens", "max_running", sa.Integer(), None),
    ("tokens", "max_slots", sa.Integer(), None),
    ("tokens", "max_queued", sa.Integer(), None),
)
"""Table, column, type, and what rows that are there get; without that the column may be null."""


def upgrade() -> None:
    for table, name, kind, given in COLUMNS:
        op.add_column(table, sa.Column(name, kind, nullable=given is None, server_default=given))
    op.create_index("ix_runs_token_id_state", "runs", ["token_id", "state"])


def downgrade() -> None:
    op.drop_index("ix_runs_token_id_state", "runs")
    for table, name, *_ in reversed(COLUMNS):
        op.drop_column(table, name)
