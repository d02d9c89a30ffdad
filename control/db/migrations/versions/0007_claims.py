"""The queue in the order it is taken, and the few runs that a host is kept for."""

import sqlalchemy as sa
from alembic import op

revision = "0007d"
down_revision = "0006"
branch_labels = None
depends_on = None

RESERVED = sa.text("reserved_host IS NOT NULL")


def upgrade() -> None:
    op.create_index("ix_runs_most_urgent", "runs", ["queue", "state", sa.text("priority DESC"), "id"])
    op.drop_index("ix_runs_queue_state_priority_id", "runs")
    op.create_index(
        "ix_runs_reserved_host", "runs", ["reserved_host"], sqlite_where=RESERVED, postgresql_where=RESERVED
    )


def downgrade() -> None:
    op.drop_index("ix_runs_reserved_host", "runs")
    op.create_index("ix_runs_queue_state_priority_id", "runs", ["queue", "state", "priority", "id"])
    op.drop_index("ix_runs_most_urgent", "runs")
