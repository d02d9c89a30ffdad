"""Tables of workers, slots, runs, and what runs say and leave behind."""

import sqlalchemy as sa
from alembic import op

from control.db.migrations.tables_0001.types import COUNTER, JSON, TIME, WORDS

TABLES = (
    "workers",
    "runs",
    "run_dependencies",
    "attempts",
    "events",
    "metrics",
    "metric_latest",
    "checkpoints",
    "artifacts",
    "slots",
)


def create() -> None:
    _workers()
    _runs()
    _run_dependencies()
    _attempts()
    _events()
    _metrics()
    _metric_latest()
    _checkpoints()
    _artifacts()
    _slots()


def _workers() -> None:
    op.create_table(
        "workers",
        sa.Column("id", WORDS, nullable=False),
        sa.Column("host", WORDS, nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("software", WORDS, nullable=False),
        sa.Column("roots", JSON, nullable=False),
        sa.Column("state", WORDS, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("looked_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    op.create_index("ix_workers_host", "workers", ["host"])


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", WORDS, nullable=False),
        sa.Column("kind", WORDS, nullable=False),
        sa.Column("queue", WORDS, nullable=False),
        sa.Column("name", WORDS, nullable=True),
        sa.Column("labels", JSON, nullable=False),
        sa.Column("group", WORDS, nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("spec", JSON, nullable=False),
        sa.Column("spec_digest", WORDS, nullable=False),
        sa.Column("config_digest", WORDS, nullable=True),
        sa.Column("dataset_version_id", WORDS, nullable=True),
        sa.Column("dataset", WORDS, nullable=True),
        sa.Column("slots_wanted", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("grace_seconds", sa.Float(), nullable=True),
        sa.Column("state", WORDS, nullable=False),
        sa.Column("desired_state", WORDS, nullable=False),
        sa.Column("reason", WORDS, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("losses", sa.Integer(), nullable=False),
        sa.Column("not_before", TIME, nullable=True),
        sa.Column("kicked_at", TIME, nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", WORDS, nullable=True),
        sa.Column("lease_host", WORDS, nullable=True),
        sa.Column("lease_expires_at", TIME, nullable=True),
        sa.Column("progress", JSON, nullable=True),
        sa.Column("environment", JSON, nullable=True),
        sa.Column("report", JSON, nullable=True),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("gpu_seconds", sa.Float(), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.ForeignKeyConstraint(
            ["dataset_version_id"], ["dataset_versions.id"], name="fk_runs_dataset_version_id_dataset_versions"
        ),
    )
    op.create_index("ix_runs_dataset_version_id", "runs", ["dataset_version_id"])
    op.create_index("ix_runs_group", "runs", ["group"])
    op.create_index("ix_runs_lease", "runs", ["state", "lease_expires_at"])
    op.create_index("ix_runs_queue_state_priority_id", "runs", ["queue", "state", "priority", "id"])


def _run_dependencies() -> None:
    op.create_table(
        "run_dependencies",
        sa.Column("run_id", WORDS, nullable=False),
        sa.Column("after_id", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "after_id", name="pk_run_dependencies"),
        sa.ForeignKeyConstraint(["after_id"], ["runs.id"], name="fk_run_dependencies_after_id_runs"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_dependencies_run_id_runs"),
    )
    op.create_index("ix_run_dependencies_after_id", "run_dependencies", ["after_id"])


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", WORDS, nullable=False),
        sa.Column("run_id", WORDS, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("worker_id", WORDS, nullable=False),
        sa.Column("host", WORDS, nullable=False),
        sa.Column("slots", JSON, nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("state", WORDS, nullable=False),
        sa.Column("error_kind", WORDS, nullable=True),
        sa.Column("reason", WORDS, nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("log_tail", WORDS, nullable=True),
        sa.Column("event_offset", sa.BigInteger(), nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_attempts_run_id_runs"),
        sa.UniqueConstraint("run_id", "fence", name="uq_attempts_run_id_fence"),
        sa.UniqueConstraint("run_id", "number", name="uq_attempts_run_id_number"),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("id", COUNTER, nullable=False),
        sa.Column("run_id", WORDS, nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("type", WORDS, nullable=False),
        sa.Column("payload", JSON, nullable=False),
        sa.Column("time", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_events_run_id_runs"),
        sa.UniqueConstraint("run_id", "fence", "seq", name="uq_events_run_id_fence_seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_run_id_id", "events", ["run_id", "id"])


def _metrics() -> None:
    op.create_table(
        "metrics",
        sa.Column("run_id", WORDS, nullable=False),
        sa.Column("key", WORDS, nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Float(53), nullable=False),
        sa.Column("time", TIME, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "key", "step", name="pk_metrics"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_metrics_run_id_runs"),
    )


def _metric_latest() -> None:
    op.create_table(
        "metric_latest",
        sa.Column("run_id", WORDS, nullable=False),
        sa.Column("key", WORDS, nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Float(53), nullable=False),
        sa.Column("lowest", sa.Float(53), nullable=False),
        sa.Column("highest", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "key", name="pk_metric_latest"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_metric_latest_run_id_runs"),
    )


def _checkpoints() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("id", WORDS, nullable=False),
        sa.Column("run_id", WORDS, nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Float(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", WORDS, nullable=False),
        sa.Column("key", WORDS, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_checkpoints"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_checkpoints_run_id_runs"),
        sa.UniqueConstraint("run_id", "fence", "step", name="uq_checkpoints_run_id_fence_step"),
    )


def _artifacts() -> None:
    op.create_table(
        "artifacts",
        sa.Column("id", WORDS, nullable=False),
        sa.Column("run_id", WORDS, nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("name", WORDS, nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", WORDS, nullable=False),
        sa.Column("key", WORDS, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", WORDS, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_artifacts"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_artifacts_run_id_runs"),
        sa.UniqueConstraint("run_id", "name", name="uq_artifacts_run_id_name"),
    )


def _slots() -> None:
    op.create_table(
        "slots",
        sa.Column("host", WORDS, nullable=False),
        sa.Column("uuid", WORDS, nullable=False),
        sa.Column("purpose", WORDS, nullable=False),
        sa.Column("is_gpu", sa.Boolean(), nullable=False),
        sa.Column("name", WORDS, nullable=False),
        sa.Column("memory", sa.BigInteger(), nullable=True),
        sa.Column("run_id", WORDS, nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=True),
        sa.Column("leased_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("host", "uuid", name="pk_slots"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_slots_run_id_runs"),
    )
    op.create_index("ix_slots_run_id", "slots", ["run_id"])
