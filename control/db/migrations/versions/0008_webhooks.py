"""Webhooks and their deliveries; which token a rotation replaced; indices of the audit."""

import sqlalchemy as sa
from alembic import op

from control.db.migrations.tables_0001.types import JSON, TIME, WORDS

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _webhooks()
    _deliveries()
    op.add_column("tokens", sa.Column("replaces", WORDS, nullable=True))
    op.create_index("ix_audit_time", "audit", ["time"])
    op.create_index("ix_audit_actor_id", "audit", ["actor", "id"])


def downgrade() -> None:
    op.drop_index("ix_audit_actor_id", "audit")
    op.drop_index("ix_audit_time", "audit")
    op.drop_column("tokens", "replaces")
    op.drop_table("webhook_deliveries")
    op.drop_table("webhooks")


def _webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", WORDS, nullable=False),
        sa.Column("url", WORDS, nullable=False),
        sa.Column("description", WORDS, nullable=True),
        sa.Column("events", JSON, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", WORDS, nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("rotated_at", TIME, nullable=True),
        sa.Column("secret_check", WORDS, nullable=False),
        sa.Column("failing_since", TIME, nullable=True),
        sa.Column("delivered_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
    )


def _deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", WORDS, nullable=False),
        sa.Column("webhook_id", WORDS, nullable=False),
        sa.Column("event_id", WORDS, nullable=False),
        sa.Column("type", WORDS, nullable=False),
        sa.Column("payload", JSON, nullable=False),
        sa.Column("state", WORDS, nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("delivered_at", TIME, nullable=True),
        sa.Column("attempts", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_deliveries"),
        sa.UniqueConstraint("webhook_id", "event_id", name="uq_webhook_deliveries_webhook_id_event_id"),
    )
    op.create_index("ix_webhook_deliveries_state_due_at", "webhook_deliveries", ["state", "due_at"])
    op.create_index("ix_webhook_deliveries_webhook_id_id", "webhook_deliveries", ["webhook_id", "id"])
    op.create_index("ix_webhook_deliveries_created_at", "webhook_deliveries", ["created_at"])
