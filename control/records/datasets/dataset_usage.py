"""What uses a data set, and what came of it: by the jobs on its versions, also those whose monitor evaluates on one."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session

from control.db.models import Artifact, DatasetVersion, ModelVersion, Run
from control.records.datasets.datasets import get_dataset, list_versions, uploads_of
from control.records.store import objects
from control.records.store.uses import MOST_NAMED

RESULTS = ("pretrain", "evaluate", "extract")
"""Kinds of jobs that people know by themselves; scans make the versions."""
SAMPLES = "replay/"
"""Begins the names of artifacts in which a run keeps images of its data set: steps that went wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What uses a data set. Of each kind the newest hundred are named."""

    versions: tuple[DatasetVersion, ...]
    counts: dict[str, int]
    """Jobs by kind (`RESULTS`), and `models`."""
    jobs: dict[str, tuple[Run, ...]]
    """By kind."""
    models: tuple[ModelVersion, ...]
    bytes: int
    """That deleting it would free at most: what scans left in the store, uploads, and images that runs kept."""


def usage(session: Session, name: str) -> Usage:
    """What uses the versions of a data set; raises `NotFound`."""
    dataset, versions = get_dataset(session, name), list_versions(session, name)
    ids = [version.id for version in versions]
    counting = select(Run.kind, func.count().label("number")).where(_shown(ids)).group_by(Run.kind)
    models = models_of(ids)
    count = session.scalar(select(func.count()).select_from(models.subquery())) or 0
    keys = {*kept_of(session, ids), *uploads_of(session, [dataset]).values()}
    return Usage(
        versions=tuple(versions),
        counts=dict.fromkeys(RESULTS, 0)
        | {row.kind: row.number for row in session.execute(counting)}
        | {"models": count},
        jobs={kind: _newest(session, ids, kind) for kind in RESULTS},
        models=tuple(session.scalars(models.order_by(ModelVersion.id.desc()).limit(MOST_NAMED))),
        bytes=sum(objects.sizes(session, keys).values()),
    )


def working_on(ids: Collection[str]) -> ColumnElement[bool]:
    """Jobs that read any of these versions, or whose monitor will."""
    monitored: Any = Run.spec[("monitor", "dataset_version_id")].as_string()
    return or_(Run.dataset_version_id.in_(ids), (Run.kind == "pretrain") & monitored.in_(ids))


def models_of(ids: Collection[str]) -> Select[ModelVersion]:
    """Model versions exported from runs on these versions."""
    trained = select(Run.id).where(Run.dataset_version_id.in_(ids))
    return select(ModelVersion).where(ModelVersion.source_run_id.in_(trained), ModelVersion.state == "ready")


def kept_of(session: Session, ids: Collection[str]) -> set[str]:
    """Keys of what is in the store because of these versions: of their scans, and images that runs kept."""
    return set(session.scalars(samples(ids, Artifact.key))) | set(
        session.scalars(
            select(Artifact.key)
            .join(Run, Run.id == Artifact.run_id)
            .where(Run.kind == "check", Run.dataset_version_id.in_(ids))
        )
    )


def samples(ids: Collection[str], column: Any) -> Select[Any]:
    """A column of the artifacts in which runs on these versions keep images."""
    runs = select(Run.id).where(Run.dataset_version_id.in_(ids))
    return select(column).where(Artifact.run_id.in_(runs), Artifact.name.startswith(SAMPLES, autoescape=True))


def _shown(ids: Collection[str]) -> ColumnElement[bool]:
    return working_on(ids) & Run.kind.in_(RESULTS) & Run.deleted_at.is_(None)


def _newest(session: Session, ids: Collection[str], kind: str) -> tuple[Run, ...]:
    query = select(Run).where(_shown(ids), Run.kind == kind).order_by(Run.id.desc())
    return tuple(session.scalars(query.limit(MOST_NAMED)))
