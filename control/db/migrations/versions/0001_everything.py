"""Everything the service keeps."""

from alembic import op

from control.db.migrations.tables_0001 import registry, service, sources, work

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PARTS = (sources, work, registry, service)


def upgrade() -> None:
    for part in PARTS:
        part.create()


def downgrade() -> None:
    for part in reversed(PARTS):
        for table in reversed(part.TABLES):
            op.drop_table(table)
