"""Tables of what goes into a run."""

import sqlalchemy as sa
from alembic import op

from control.db.migrations.tables_0001.types import JSON, TIME, WORDS

TABLES = (
    "datasets",
    "dataset_versions",
    "weights",
    "uploads",
)


def create() -> None:
    _datasets()
    _dataset_versions()
    _weights()
    _uploads()


def _datasets() -> None:
    op.create_table(
        "datasets",
        sa.Column("name", WORDS, nullable=False),
        sa.Column("id", WORDS, nullable=False),
        sa.Column("kind", WORDS, nullable=False),
        sa.Column("uri", WORDS, nullable=False),
        sa.Column("root", WORDS, nullable=False),
        sa.Column("license", WORDS, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_datasets"),
        sa.UniqueConstraint("id", name="uq_datasets_id"),
    )


def _dataset_versions() -> None:
    op.create_table(
        "dataset_versions",
        sa.Column("id", WORDS, nullable=False),
        sa.Column("dataset", WORDS, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", WORDS, nullable=False),
        sa.Column("root", WORDS, nullable=False),
        sa.Column("exclude", JSON, nullable=False),
        sa.Column("state", WORDS, nullable=False),
        sa.Column("reason", WORDS, nullable=True),
        sa.Column("run_id", WORDS, nullable=True),
        sa.Column("digest", WORDS, nullable=True),
        sa.Column("manifest_key", WORDS, nullable=True),
        sa.Column("images", sa.Integer(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("splits", JSON, nullable=True),
        sa.Column("labels", JSON, nullable=True),
        sa.Column("channels", JSON, nullable=True),
        sa.Column("width", JSON, nullable=True),
        sa.Column("height", JSON, nullable=True),
        sa.Column("broken", JSON, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dataset_versions"),
        sa.ForeignKeyConstraint(["dataset"], ["datasets.name"], name="fk_dataset_versions_dataset_datasets"),
        sa.UniqueConstraint("dataset", "number", name="uq_dataset_versions_dataset_number"),
    )


def _weights() -> None:
    op.create_table(
        "weights",
        sa.Column("id", WORDS, nullable=False),
        sa.Column("name", WORDS, nullable=True),
        sa.Column("uri", WORDS, nullable=False),
        sa.Column("format", WORDS, nullable=True),
        sa.Column("architecture", WORDS, nullable=False),
        sa.Column("license", WORDS, nullable=True),
        sa.Column("state", WORDS, nullable=False),
        sa.Column("reason", WORDS, nullable=True),
        sa.Column("run_id", WORDS, nullable=True),
        sa.Column("digest", WORDS, nullable=True),
        sa.Column("key", WORDS, nullable=True),
        sa.Column("key_report", JSON, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_weights"),
    )
    op.create_index("ix_weights_name", "weights", ["name"])


def _uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", WORDS, nullable=False),
        sa.Column("kind", WORDS, nullable=False),
        sa.Column("state", WORDS, nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("digest", WORDS, nullable=False),
        sa.Column("key", WORDS, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_uploads"),
    )
