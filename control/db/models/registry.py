"""Tables of the model registry: models, their versions, aliases with history, pins."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control.db.base import Base, BigId, Made
from control.db.ids import new_id


class Model(Made, Base):
    """A name under which versions are counted."""

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True, default=partial(new_id, "mdl"))
    version: Mapped[int] = mapped_column()
    """Counts changes of the row: the ETag."""
    last_number: Mapped[int] = mapped_column(default=0)
    """Of the newest version; never given twice."""
    deleted_at: Mapped[datetime | None]
    """Its versions are deleted; the row stays, so that a number is not given twice should the name be used again."""

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own declaration


class ModelVersion(Made, Base):
    """One exported bundle."""

    __tablename__ = "model_versions"
    __table_args__ = (UniqueConstraint("model", "number"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=partial(new_id, "mv"))
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    number: Mapped[int]
    state: Mapped[str] = mapped_column(default="exporting")
    """`exporting`, `ready`, `failed` or `deleted`."""
    reason: Mapped[str | None]
    run_id: Mapped[str | None]
    """The run of kind `export` that makes it."""
    source_run_id: Mapped[str | None] = mapped_column(ForeignKey("runs.id"), index=True)
    checkpoint_id: Mapped[str | None] = mapped_column(ForeignKey("checkpoints.id"), index=True)
    weights_id: Mapped[str | None]
    """Of the imported weights it was made from, kept when those are deleted."""
    formats: Mapped[list[str]]
    license: Mapped[str | None]
    weights_digest: Mapped[str | None] = mapped_column(index=True)
    """Of the backbone's tensors; from here on None until the export is done."""
    manifest: Mapped[dict[str, Any] | None]
    parity: Mapped[dict[str, Any] | None]
    lineage: Mapped[dict[str, Any] | None]
    files: Mapped[dict[str, Any] | None]
    """By format and `manifest`: `{"path", "bytes", "digest", "key"}`; `key` is the artifact store's."""

    @property
    def ref(self) -> str:
        """`name:version`"""
        return f"{self.model}:{self.number}"


class Alias(Made, Base):
    """A movable name of one version of a model, e.g. `production`."""

    __tablename__ = "aliases"

    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    model_version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.id"), index=True)
    number: Mapped[int]
    """Of the version it names."""
    version: Mapped[int] = mapped_column()
    """Counts moves: the ETag."""
    moved_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own declaration


class AliasMove(Made, Base):
    """One move of an alias; `created_by` moved it."""

    __tablename__ = "alias_history"
    __table_args__ = (Index("ix_alias_history_model_alias_id", "model", "alias", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    alias: Mapped[str]
    from_number: Mapped[int | None]
    to_number: Mapped[int | None]
    """None: it was removed."""


class Pin(Made, Base):
    """A consumer that needs a version to stay."""

    __tablename__ = "pins"

    model_version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.id"), primary_key=True)
    consumer: Mapped[str] = mapped_column(primary_key=True)
