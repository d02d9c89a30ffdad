"""The trace of the request that a run was submitted by."""

import sqlalchemy as sa
from alembic import op

from control.db.migrations.tables_0001.types import WORDS

revision = "0013"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("traceparent", WORDS, nullable=True))


def downgrade() -> None:
    op.drop_column("runs", "traceparent")
