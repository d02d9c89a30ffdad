"""Sweeps, the evaluations of monitors and the scores of checkpoints, CPU time."""

import sqlalchemy as sa
from alembic import op

from control.db.migrations.tables_0001.types import JSON, TIME, WORDS

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None

COLUMNS = (
    ("checkpoints", "score", sa.Float(53)),
    ("attempts", "cpu_seconds", sa.Float()),
    ("runs", "cpu_seconds", sa.Float()),
)


def upgrade() -> None:
    for table, name, kind in COLUMNS:
        op.add_column(table, sa.Column(name, kind, nullable=True))
    _monitor_evaluations()
    _sweeps()
    _sweep_runs()


def downgrade() -> None:
    for table in ("sweep_runs", "sweeps", "monitor_evaluations"):
        op.drop_table(table)
    for table, name, _ in reversed(COLUMNS):
        op.drop_column(table, name)


def _monitor_evaluations() -> None:
    op.create_table(
        "monitor_evaluations",
        sa.Column("checkpoint_id", WORDS, nullable=False),
        sa.Column("run_id", WORDS, nullable=False),
        sa.Column("evaluation_id", WORDS, nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        _belongs("monitor_evaluations", "checkpoint_id", "checkpoints"),
        _belongs("monitor_evaluations", "run_id", "runs"),
        _belongs("monitor_evaluations", "evaluation_id", "runs"),
        sa.PrimaryKeyConstraint("checkpoint_id", name="pk_monitor_evaluations"),
        sa.UniqueConstraint("evaluation_id", name="uq_monitor_evaluations_evaluation_id"),
    )
    op.create_index("ix_monitor_evaluations_run_id_turn", "monitor_evaluations", ["run_id", "turn"])


def _sweeps() -> None:
    op.create_table(
        "sweeps",
        sa.Column("id", WORDS, nullable=False),
        sa.Column("name", WORDS, nullable=True),
        sa.Column("labels", JSON, nullable=False),
        sa.Column("group", WORDS, nullable=False),
        sa.Column("dataset", WORDS, nullable=False),
        sa.Column("preset", WORDS, nullable=False),
        sa.Column("overrides", JSON, nullable=False),
        sa.Column("varied", JSON, nullable=False),
        sa.Column("max_parallel", sa.Integer(), nullable=True),
        sa.Column("evaluate", JSON, nullable=True),
        sa.Column("cancelled_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sweeps"),
    )
    op.create_index("ix_sweeps_group", "sweeps", ["group"])


def _sweep_runs() -> None:
    op.create_table(
        "sweep_runs",
        sa.Column("sweep_id", WORDS, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run_id", WORDS, nullable=False),
        sa.Column("evaluation_id", WORDS, nullable=True),
        sa.Column("waits", sa.Boolean(), nullable=False),
        sa.Column("reason", WORDS, nullable=True),
        sa.Column("overrides", JSON, nullable=False),
        _belongs("sweep_runs", "sweep_id", "sweeps"),
        _belongs("sweep_runs", "run_id", "runs"),
        _belongs("sweep_runs", "evaluation_id", "runs", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("sweep_id", "number", name="pk_sweep_runs"),
        sa.UniqueConstraint("run_id", name="uq_sweep_runs_run_id"),
        sa.UniqueConstraint("evaluation_id", name="uq_sweep_runs_evaluation_id"),
    )
    op.create_index("ix_sweep_runs_waits", "sweep_runs", ["waits"])


def _belongs(table: str, column: str, other: str, ondelete: str = "CASCADE") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=f"fk_{table}_{column}_{other}", ondelete=ondelete)
