"""The large runs of the queue, few among many, in the order they are taken."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0012"
branch_labels = None
depends_on = None

LARGE = sa.text("slots_wanted > 1")


def upgrade() -> None:
    columns: list[str | sa.TextClause] = ["queue", "state", sa.text("priority DESC"), "id"]
    op.create_index("ix_runs_large", "runs", columns, sqlite_where=LARGE, postgresql_where=LARGE)


def downgrade() -> None:
    op.drop_index("ix_runs_large", "runs")
