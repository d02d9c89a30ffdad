"""Data sets that were deleted: what was made from them still names them."""

import sqlalchemy as sa
from alembic import op

from control.db.migrations.tables_0001.types import TIME

revision = "0006b"
down_revision = "0007d"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("datasets", sa.Column("deleted_at", TIME, nullable=True))


def downgrade() -> None:
    op.drop_column("datasets", "deleted_at")
