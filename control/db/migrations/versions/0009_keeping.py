"""What is in the store, what is kept of it, and what is deleted."""

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from control.db.migrations.tables_0001.types import COUNTER, JSON, TIME, WORDS

revision = "0009"
down_revision = "0007b"
branch_labels = None
depends_on = None

COLUMNS = (
    ("checkpoints", sa.Column("state", WORDS, nullable=False, server_default="stored")),
    ("checkpoints", sa.Column("pinned_by", WORDS, nullable=True)),
    ("checkpoints", sa.Column("pinned_at", TIME, nullable=True)),
    ("runs", sa.Column("keep", JSON, nullable=True)),
    ("runs", sa.Column("deleted_at", TIME, nullable=True)),
    ("models", sa.Column("deleted_at", TIME, nullable=True)),
)
INDEXES = (
    ("ix_checkpoints_run_id_state", "checkpoints", ["run_id", "state"]),
    ("ix_checkpoints_key", "checkpoints", ["key"]),
    ("ix_artifacts_key", "artifacts", ["key"]),
    ("ix_objects_state", "objects", ["state"]),
    ("ix_objects_damaged_at", "objects", ["damaged_at"]),
    ("ix_deletions_target", "deletions", ["target"]),
    ("ix_deletions_state", "deletions", ["state"]),
    ("ix_run_uses_used_id", "run_uses", ["used_id"]),
    ("ix_retention_due_run_id", "retention_due", ["run_id"]),
)
TABLES = ("objects", "deletions", "run_uses", "retention_due")
_USED = ("checkpoint_id", "model_version_id", "weights_id")
_BATCH = 1000


def upgrade() -> None:
    for table, column in COLUMNS:
        op.add_column(table, column)
    with op.batch_alter_table("alias_history") as batch:
        batch.alter_column("to_number", existing_type=sa.Integer(), nullable=True)
    _create_tables()
    for name, table, columns in INDEXES:
        op.create_index(name, table, columns)
    stored = sa.text("key IS NOT NULL")
    op.create_index("ix_log_pieces_key", "log_pieces", ["key"], sqlite_where=stored, postgresql_where=stored)
    _know_what_is_there()


def downgrade() -> None:
    op.drop_index("ix_log_pieces_key", "log_pieces")
    for name, table, _ in reversed(INDEXES):
        op.drop_index(name, table)
    for table in reversed(TABLES):
        op.drop_table(table)
    op.execute("DELETE FROM alias_history WHERE to_number IS NULL")
    with op.batch_alter_table("alias_history") as batch:
        batch.alter_column("to_number", existing_type=sa.Integer(), nullable=False)
    for table, column in reversed(COLUMNS):
        op.drop_column(table, column.name)


def _create_tables() -> None:
    op.create_table(
        "objects",
        sa.Column("key", WORDS, nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("state", WORDS, nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.Column("damaged_at", TIME, nullable=True),
        sa.Column("damage", WORDS, nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_objects"),
    )
    op.create_table(
        "deletions",
        sa.Column("id", WORDS, nullable=False),
        sa.Column("kind", WORDS, nullable=False),
        sa.Column("target", WORDS, nullable=False),
        sa.Column("state", WORDS, nullable=False),
        sa.Column("runs", JSON, nullable=False),
        sa.Column("derived", JSON, nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deletions"),
    )
    op.create_table(
        "run_uses",
        sa.Column("run_id", WORDS, nullable=False),
        sa.Column("used_id", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "used_id", name="pk_run_uses"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_uses_run_id_runs"),
    )
    op.create_table(
        "retention_due",
        sa.Column("id", COUNTER, nullable=False),
        sa.Column("run_id", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_retention_due"),
    )


def _know_what_is_there() -> None:
    """Fill `objects` and `run_uses` from the rows there are."""
    for table, size in (("checkpoints", "bytes"), ("artifacts", "bytes"), ("log_pieces", "size")):
        op.execute(
            f"INSERT INTO objects (key, bytes, state, changed_at) SELECT key, MAX({size}), 'stored', CURRENT_TIMESTAMP "  # noqa: S608 - our own names
            f"FROM {table} WHERE key IS NOT NULL AND key NOT IN (SELECT key FROM objects) GROUP BY key"
        )
    runs = sa.table("runs", sa.column("id", WORDS), sa.column("spec", JSON))
    uses = sa.table("run_uses", sa.column("run_id", WORDS), sa.column("used_id", WORDS))
    connection, last = op.get_bind(), ""
    while rows := connection.execute(
        sa.select(runs.c.id, runs.c.spec).where(runs.c.id > last).order_by(runs.c.id).limit(_BATCH)
    ).all():
        found = [{"run_id": row.id, "used_id": used} for row in rows for used in sorted(set(_used(row.spec)))]
        if found:
            connection.execute(uses.insert(), found)
        last = rows[-1].id


def _used(spec: Any) -> Iterator[str]:
    document = json.loads(spec) if isinstance(spec, str) else spec
    for key, value in (document or {}).items():
        if isinstance(value, dict):
            yield from _used(value)
        elif key in _USED and isinstance(value, str):
            yield value
