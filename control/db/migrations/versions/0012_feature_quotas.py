"""What a token may take of a feature server."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0006b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tokens", sa.Column("max_images", sa.Integer(), nullable=True))
    op.add_column("tokens", sa.Column("max_pixels_per_second", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("tokens", "max_pixels_per_second")
    op.drop_column("tokens", "max_images")
