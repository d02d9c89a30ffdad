"""The logs of attempts in pieces."""

import sqlalchemy as sa
from alembic import op

from control.db.migrations.tables_0001.types import WORDS

revision = "0007b"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "log_pieces",
        sa.Column("run_id", WORDS, nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("node", sa.Integer(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.Column("key", WORDS, nullable=True),
        sa.PrimaryKeyConstraint("run_id", "fence", "node", "start", name="pk_log_pieces"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_log_pieces_run_id_runs"),
    )
    in_rows = sa.text("key IS NULL")
    op.create_index(
        "ix_log_pieces_loose", "log_pieces", ["run_id", "fence", "node"], sqlite_where=in_rows, postgresql_where=in_rows
    )


def downgrade() -> None:
    op.drop_table("log_pieces")
