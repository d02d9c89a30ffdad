"""Deleting data sets and their versions, with what was derived from them: manifests, kept images, uploaded bytes.

Files that lie under the data set roots are never touched. What hosts have unpacked or cached of it goes with their next
look. Runs, evaluations and models stay, and name it.
"""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from control.db.models import Artifact, Dataset, DatasetVersion, Run
from control.db.session import database_time
from control.errors import Conflict
from control.records.datasets.dataset_usage import RESULTS, models_of, samples, working_on
from control.records.datasets.datasets import uploads_of
from control.records.names import job_name
from control.records.runs.moves import lock
from control.records.store.removals import Removal, Removed, recorded, remove, require_ended
from control.records.store.uploads import get_upload, let_go
from control.records.store.uses import MOST_NAMED
from control.states import TERMINAL

DATASET, VERSION = "data set", "data set version"


def delete_dataset(session: Session, name: str, actor: str, *, dry_run: bool = False) -> Removed:
    """Delete a data set with all of its versions and what was uploaded for it. Asking again gives the answer again.

    Raises:
        NotFound: there never was one.
        IllegalMove: a scan goes on; names what ends it.
        InUse: jobs that have not ended read it, or their monitor does.
    """
    dataset = session.get(Dataset, name, with_for_update=True, populate_existing=True)
    if dataset is None or dataset.deleted_at is not None:
        return recorded(session, DATASET, name)
    query = select(DatasetVersion).where(DatasetVersion.dataset == name, DatasetVersion.state != "deleted")
    versions = session.scalars(query.order_by(DatasetVersion.number).with_for_update()).all()
    return _remove(session, DATASET, name, versions, actor, dataset=dataset, dry_run=dry_run)


def delete_version(session: Session, name: str, number: int, actor: str, *, dry_run: bool = False) -> Removed:
    """Delete one version; its number is not given again. Raises as `delete_dataset`, and `Conflict` for the last."""
    session.get(Dataset, name, with_for_update=True)
    query = select(DatasetVersion).where(DatasetVersion.dataset == name, DatasetVersion.state != "deleted")
    versions = session.scalars(query.with_for_update()).all()
    found = [version for version in versions if version.number == number]
    if not found:
        return recorded(session, VERSION, f"{name}@{number}")
    if len(versions) == 1:
        raise Conflict(f"{name}@{number} is the only version of data set {name}: delete the data set")
    return _remove(session, VERSION, f"{name}@{number}", found, actor, dry_run=dry_run)


def _remove(
    session: Session,
    kind: str,
    target: str,
    versions: Sequence[DatasetVersion],
    actor: str,
    *,
    dataset: Dataset | None = None,
    dry_run: bool,
) -> Removed:
    ids = [version.id for version in versions]
    scans = [run for version in versions if (run := lock(session, version.run_id or ""))]
    for run in scans:
        require_ended(run)
    uploaded = uploads_of(session, [] if dataset is None else [dataset])
    plan = Removal(
        kind=kind,
        target=target,
        holders=tuple(_jobs(session, ids, ended=False)),
        derived=(*_jobs(session, ids, ended=True), *_models(session, ids)),
        runs=tuple(scans),
        keys=frozenset(
            {
                *session.scalars(samples(ids, Artifact.key)),
                *(version.manifest_key for version in versions if version.manifest_key is not None),
                *uploaded.values(),
            }
        ),
    )

    def out_of_sight() -> None:
        session.execute(delete(Artifact).where(Artifact.id.in_(samples(ids, Artifact.id))))
        for version in versions:
            version.state, version.manifest_key, version.broken = "deleted", None, None
        if dataset is not None:
            dataset.deleted_at = database_time(session)
        session.flush()
        for upload_id in uploaded:
            let_go(session, get_upload(session, upload_id, lock=True))

    return remove(session, plan, out_of_sight, actor, dry_run=dry_run)


def _jobs(session: Session, ids: list[str], *, ended: bool) -> list[str]:
    state = Run.state.in_(TERMINAL) & Run.kind.in_(RESULTS) if ended else Run.state.not_in(TERMINAL)
    query = select(Run).where(working_on(ids), Run.deleted_at.is_(None), state).order_by(Run.id).limit(MOST_NAMED)
    return [job_name(run.kind, run.id) for run in session.scalars(query)]


def _models(session: Session, ids: list[str]) -> list[str]:
    found = session.scalars(models_of(ids).limit(MOST_NAMED))
    return [f"model version {version.ref}" for version in found]
