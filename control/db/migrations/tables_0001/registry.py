"""Tables of the model registry."""

import sqlalchemy as sa
from alembic import op

from control.db.migrations.tables_0001.types import COUNTER, JSON, TIME, WORDS

TABLES = (
    "models",
    "model_versions",
    "aliases",
    "alias_history",
    "pins",
)


def create() -> None:
    _models()
    _model_versions()
    _aliases()
    _alias_history()
    _pins()


def _models() -> None:
    op.create_table(
        "models",
        sa.Column("name", WORDS, nullable=False),
        sa.Column("id", WORDS, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("last_number", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_models"),
        sa.UniqueConstraint("id", name="uq_models_id"),
    )


def _model_versions() -> None:
    op.create_table(
        "model_versions",
        sa.Column("id", WORDS, nullable=False),
        sa.Column("model", WORDS, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", WORDS, nullable=False),
        sa.Column("reason", WORDS, nullable=True),
        sa.Column("run_id", WORDS, nullable=True),
        sa.Column("source_run_id", WORDS, nullable=True),
        sa.Column("checkpoint_id", WORDS, nullable=True),
        sa.Column("formats", JSON, nullable=False),
        sa.Column("license", WORDS, nullable=True),
        sa.Column("weights_digest", WORDS, nullable=True),
        sa.Column("manifest", JSON, nullable=True),
        sa.Column("parity", JSON, nullable=True),
        sa.Column("lineage", JSON, nullable=True),
        sa.Column("files", JSON, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_model_versions"),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoints.id"], name="fk_model_versions_checkpoint_id_checkpoints"
        ),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_model_versions_model_models"),
        sa.ForeignKeyConstraint(["source_run_id"], ["runs.id"], name="fk_model_versions_source_run_id_runs"),
        sa.UniqueConstraint("model", "number", name="uq_model_versions_model_number"),
    )
    op.create_index("ix_model_versions_checkpoint_id", "model_versions", ["checkpoint_id"])
    op.create_index("ix_model_versions_source_run_id", "model_versions", ["source_run_id"])
    op.create_index("ix_model_versions_weights_digest", "model_versions", ["weights_digest"])


def _aliases() -> None:
    op.create_table(
        "aliases",
        sa.Column("model", WORDS, nullable=False),
        sa.Column("name", WORDS, nullable=False),
        sa.Column("model_version_id", WORDS, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("moved_at", TIME, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("model", "name", name="pk_aliases"),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_aliases_model_models"),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_versions.id"], name="fk_aliases_model_version_id_model_versions"
        ),
    )
    op.create_index("ix_aliases_model_version_id", "aliases", ["model_version_id"])


def _alias_history() -> None:
    op.create_table(
        "alias_history",
        sa.Column("id", COUNTER, nullable=False),
        sa.Column("model", WORDS, nullable=False),
        sa.Column("alias", WORDS, nullable=False),
        sa.Column("from_number", sa.Integer(), nullable=True),
        sa.Column("to_number", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alias_history"),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_alias_history_model_models"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alias_history_model_alias_id", "alias_history", ["model", "alias", "id"])


def _pins() -> None:
    op.create_table(
        "pins",
        sa.Column("model_version_id", WORDS, nullable=False),
        sa.Column("consumer", WORDS, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("model_version_id", "consumer", name="pk_pins"),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_versions.id"], name="fk_pins_model_version_id_model_versions"
        ),
    )
