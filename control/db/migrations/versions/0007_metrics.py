"""Metrics in the order of their key, on SQLite; PostgreSQL keeps them as they are."""

import sqlalchemy as sa
from alembic import op

from control.db.migrations.tables_0001.types import TIME, WORDS

revision = "0007"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_metrics(with_rowid=False)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_metrics(with_rowid=True)


def _rebuild_metrics(*, with_rowid: bool) -> None:
    """SQLite cannot change how a table is kept: copy it. A million rows take about a second."""
    op.create_table(
        "metrics_new",
        sa.Column("run_id", WORDS, nullable=False),
        sa.Column("key", WORDS, nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Float(53), nullable=False),
        sa.Column("time", TIME, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "key", "step", name="pk_metrics"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_metrics_run_id_runs"),
        sqlite_with_rowid=with_rowid,
    )
    op.execute(
        "INSERT INTO metrics_new (run_id, key, step, value, time) "
        "SELECT run_id, key, step, value, time FROM metrics ORDER BY run_id, key, step"
    )
    op.drop_table("metrics")
    op.rename_table("metrics_new", "metrics")
