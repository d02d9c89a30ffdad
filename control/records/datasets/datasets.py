"""Data sets: a name, a root read in place, and versions, each an immutable list of files made by a scan."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from control.db.models import Dataset, DatasetVersion, Run, Upload
from control.db.session import database_time
from control.db.upsert import insert_if_absent
from control.errors import AlreadyExists, NotFound, NotReady
from control.records.names import check_name, parse_number
from control.records.paging import Listing, Page, paginate
from control.records.runs.submission import NewRun, create_run
from control.records.store.places import dataset_place
from control.records.store.uploads import SCHEME
from detco_core.contract.datasets import REMOTE


@dataclass(frozen=True, kw_only=True, slots=True)
class NewDataset:
    """What is needed to register a data set."""

    name: str
    kind: str
    uri: str
    actor: str
    license: str | None = None
    exclude: tuple[str, ...] = ()
    """Glob patterns of relative paths to leave out of the first version."""
    splits: Mapping[str, str] = field(default_factory=dict)
    """Relative folder by split, where the kind's own layout does not say it."""


@dataclass(frozen=True, slots=True)
class Scan:
    """A data set, its new version, and the run of kind `check` that scans it."""

    dataset: Dataset
    version: DatasetVersion
    run: Run


def add_dataset(session: Session, new: NewDataset, roots: Sequence[str]) -> Scan:
    """Register a data set and submit the scan of its first version.

    Raises:
        InvalidRequest: name, kind, uri, splits or layout is not as it must be.
        ForbiddenRoot: the folder lies outside `roots` (`Settings.resolved_dataset_roots`).
        NotReady: bytes of the upload are missing.
        AlreadyExists: the name is taken.
    """
    check_name("name", new.name)
    values = {
        "name": new.name,
        "kind": new.kind,
        "uri": new.uri,
        "root": dataset_place(session, new.uri, new.kind, roots, new.splits),
        "split_folders": dict(new.splits) or None,
        "license": new.license,
    }
    if not insert_if_absent(session, Dataset, {**values, "created_by": new.actor}):
        _take_name_again(session, values | {"created_by": new.actor, "created_at": database_time(session)})
    return _scan(session, session.get_one(Dataset, new.name), new.exclude, new.actor)


def add_version(session: Session, name: str, exclude: Sequence[str], actor: str, roots: Sequence[str]) -> Scan:
    """Submit a new scan of a data set's folder, leaving out `exclude`; raises as `add_dataset`, and `NotFound`."""
    dataset = session.get(Dataset, name, with_for_update=True)
    if dataset is None or dataset.deleted_at is not None:
        raise NotFound("data set", name)
    dataset_place(session, dataset.uri, dataset.kind, roots, dataset.split_folders or {})
    return _scan(session, dataset, exclude, actor)


def get_dataset(session: Session, name: str) -> Dataset:
    """The data set; raises `NotFound`."""
    dataset = session.get(Dataset, name)
    if dataset is None or dataset.deleted_at is not None:
        raise NotFound("data set", name)
    return dataset


def list_datasets(session: Session, page: Page | None = None) -> Listing[Dataset]:
    """Data sets, newest first."""
    return paginate(session, select(Dataset).where(Dataset.deleted_at.is_(None)), Dataset.id, page or Page())


def list_versions(session: Session, name: str) -> list[DatasetVersion]:
    """All versions of a data set, newest first; raises `NotFound`."""
    get_dataset(session, name)
    return list(session.scalars(_versions(name).order_by(DatasetVersion.number.desc())))


def page_versions(session: Session, name: str, page: Page | None = None) -> Listing[DatasetVersion]:
    """Versions of a data set, newest first, page by page; raises `NotFound`."""
    get_dataset(session, name)
    return paginate(session, _versions(name), DatasetVersion.number, page or Page())


def get_version(session: Session, name: str, number: int) -> DatasetVersion:
    """One version; raises `NotFound`."""
    version = session.scalar(_versions(name).where(DatasetVersion.number == number))
    if version is None:
        raise NotFound("data set version", f"{name}@{number}")
    return version


def resolve(session: Session, ref: str) -> DatasetVersion:
    """The version that `name@3` names, or for `name` the newest whose scan has not failed (it may still go on).

    Raises:
        NotFound: there is no such data set or version.
        NotReady: every scan of it failed.
    """
    name, at, text = ref.partition("@")
    if at:
        return get_version(session, name, parse_number(text) or 0)
    versions = list_versions(session, name)
    for version in versions:
        if version.state != "failed":
            return version
    raise NotReady(f"data set {name} could not be scanned: {versions[0].reason}")


def remote_roots(session: Session) -> list[str]:
    """Roots in S3 of all data sets there are."""
    query = select(Dataset.root).where(Dataset.root.startswith(REMOTE), Dataset.deleted_at.is_(None))
    return list(session.scalars(query.distinct()))


def uploads_of(session: Session, datasets: Collection[Dataset]) -> dict[str, str]:
    """Keys of the uploads that these data sets read and no other does, by the uploads' ids."""
    roots = {dataset.root for dataset in datasets if dataset.root.startswith(SCHEME)}
    names = [dataset.name for dataset in datasets]
    others = select(Dataset.root).where(
        Dataset.root.in_(roots), Dataset.name.not_in(names), Dataset.deleted_at.is_(None)
    )
    own = roots - set(session.scalars(others)) if roots else set()
    query = select(Upload.id, Upload.key).where(Upload.id.in_([root.removeprefix(SCHEME) for root in own]))
    return {upload_id: key for upload_id, key in session.execute(query) if key is not None}


def _versions(name: str) -> Select[DatasetVersion]:
    return select(DatasetVersion).where(DatasetVersion.dataset == name, DatasetVersion.state != "deleted")


def _take_name_again(session: Session, values: Mapping[str, Any]) -> None:
    """A name whose data set was deleted may be given again; versions go on from the last number."""
    taken = session.get_one(Dataset, values["name"], with_for_update=True, populate_existing=True)
    if taken.deleted_at is None:
        raise AlreadyExists(f"there is a data set {taken.name!r} already: add a version to it, or choose another name")
    for field_name, value in values.items():
        setattr(taken, field_name, value)
    taken.deleted_at = None
    session.flush()


def _scan(session: Session, dataset: Dataset, exclude: Sequence[str], actor: str) -> Scan:
    last = session.scalar(select(func.max(DatasetVersion.number)).where(DatasetVersion.dataset == dataset.name))
    version = DatasetVersion(
        dataset=dataset.name,
        number=(last or 0) + 1,
        kind=dataset.kind,
        root=dataset.root,
        exclude=list(exclude),
        split_folders=dataset.split_folders,
        state="scanning",
        created_by=actor,
    )
    session.add(version)
    session.flush()
    # A scan says the same the second time: one attempt that fails by its own fault is enough.
    spec = {"dataset_version_id": version.id}
    new = NewRun(kind="check", spec=spec, actor=actor, dataset_version_id=version.id, max_attempts=1)
    run = create_run(session, new)
    version.run_id, run.dataset = run.id, version.ref
    session.flush()
    return Scan(dataset, version, run)
