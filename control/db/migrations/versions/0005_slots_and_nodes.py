"""What runs on several hosts, slots set aside, serving's slots and drains need."""

import sqlalchemy as sa
from alembic import op

from control.db.migrations.tables_0001.types import JSON, TIME, WORDS

revision = "0005"
down_revision = "0008"
branch_labels = None
depends_on = None

COLUMNS = (
    ("runs", "nodes", sa.Integer(), sa.text("1")),
    ("workers", "preempting", sa.Boolean(), sa.false()),
    ("slots", "set_aside", WORDS, None),
    ("slots", "holder", WORDS, None),
    ("slots", "expires_at", TIME, None),
)


def upgrade() -> None:
    for table, name, kind, default in COLUMNS:
        op.add_column(table, sa.Column(name, kind, nullable=default is None, server_default=default))
    op.create_table(
        "attempt_nodes",
        sa.Column("run_id", WORDS, nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("node", sa.Integer(), nullable=False),
        sa.Column("host", WORDS, nullable=False),
        sa.Column("worker_id", WORDS),
        sa.Column("slots", JSON, nullable=False),
        sa.Column("state", WORDS, nullable=False),
        sa.Column("endpoint", WORDS),
        sa.Column("resume_digest", WORDS),
        sa.Column("lease_expires_at", TIME, nullable=False),
        sa.Column("pid", sa.Integer()),
        sa.Column("reason", WORDS),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("log_tail", WORDS),
        sa.Column("started_at", TIME),
        sa.Column("ended_at", TIME),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_attempt_nodes_run_id_runs", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "fence", "node", name="pk_attempt_nodes"),
    )
    op.create_index("ix_attempt_nodes_host_ended_at", "attempt_nodes", ["host", "ended_at"])


def downgrade() -> None:
    op.drop_table("attempt_nodes")
    for table, name, _, _ in reversed(COLUMNS):
        op.drop_column(table, name)
