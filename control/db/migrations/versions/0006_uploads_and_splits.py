"""Uploads in parts, what is in an archive, data sets laid out in their own way, broken files counted."""

import sqlalchemy as sa
from alembic import op

from control.db.migrations.tables_0001.types import JSON, TIME, WORDS

revision = "0006"
down_revision = "0007c"
branch_labels = None
depends_on = None

COLUMNS = (
    ("datasets", "split_folders", JSON),
    ("dataset_versions", "split_folders", JSON),
    ("dataset_versions", "broken_count", sa.Integer()),
    ("uploads", "reason", WORDS),
    ("uploads", "contents", JSON),
    ("uploads", "expires_at", TIME),
)


def upgrade() -> None:
    for table, name, kind in COLUMNS:
        op.add_column(table, sa.Column(name, kind, nullable=True))
    op.create_table(
        "upload_parts",
        sa.Column("upload_id", WORDS, nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("key", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("upload_id", "start", name="pk_upload_parts"),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.id"], name="fk_upload_parts_upload_id_uploads"),
    )
    op.create_index("ix_upload_parts_key", "upload_parts", ["key"])


def downgrade() -> None:
    op.drop_table("upload_parts")
    for table, name, _ in reversed(COLUMNS):
        op.drop_column(table, name)
