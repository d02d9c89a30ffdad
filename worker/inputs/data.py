"""Where the data of a job lie on its host."""

import os
from typing import cast

from sqlalchemy.orm import Session

from control.db.models import DatasetVersion, Upload, Worker
from control.records.journal.history import get_attempt
from control.records.store.places import sees
from control.records.store.uploads import SCHEME
from detco_core.contract.datasets import REMOTE, ChannelStatistics, DatasetKind, DatasetRef
from detco_core.contract.errors import DataError
from detco_core.contract.reader import read
from worker.inputs.draft import Draft

DATASET_FILE = "dataset.jsonl"


def dataset_of(session: Session, draft: Draft) -> DatasetRef:
    """The data set version the run names, as the job reads it."""
    version = session.get_one(DatasetVersion, draft.run.dataset_version_id)
    if version.digest is None:
        raise DataError(f"data set {version.ref} is {version.state}, not ready")
    return DatasetRef(
        name=version.ref,
        kind=cast(DatasetKind, version.kind),
        root=root_of(session, draft, version),
        cache=draft.unpacked.objects if version.root.startswith(REMOTE) else None,
        manifest=draft.need(DATASET_FILE, version.digest, f"the file manifest of {version.ref}"),
        digest=version.digest,
        # What is unpacked on this host is younger than its scan, and what its digest says.
        scanned_at=None if version.root.startswith(SCHEME) else version.created_at.timestamp(),
        allowed_roots=roots_of(session, draft),
        statistics=read(dict[str, ChannelStatistics], version.statistics or {}, f"statistics of {version.ref}"),
    )


def root_of(session: Session, draft: Draft, version: DatasetVersion) -> str:
    """The path at which a data set version lies on this host, once the job is prepared."""
    if version.root.startswith(SCHEME):
        upload = session.get_one(Upload, version.root.removeprefix(SCHEME))
        draft.archives.append(upload.digest)
        return str(draft.unpacked.folder_of(upload.digest) / (upload.contents or {}).get("base", ""))
    if version.root.startswith(REMOTE):
        return version.root
    real, roots = os.path.realpath(version.root), roots_of(session, draft)
    if not sees(roots, real):
        raise DataError(f"{version.root} leads to {real} now, outside the folders data may lie in: {', '.join(roots)}")
    return version.root


def uploaded(session: Session, draft: Draft, place: str, name: str) -> str:
    """The path at which a file lies, once the job is prepared; an uploaded one is brought by this name."""
    if place.startswith(REMOTE):
        path = draft.folder / "import.pth"
        draft.objects[path] = place
        return str(path)
    if not place.startswith(SCHEME):
        return place
    upload = session.get_one(Upload, place.removeprefix(SCHEME))
    return draft.need(name, upload.digest, f"upload {upload.id}")


def roots_of(session: Session, draft: Draft) -> tuple[str, ...]:
    """The folders that the worker of this attempt reads data from."""
    worker = session.get_one(Worker, get_attempt(session, draft.run.id, draft.fence).worker_id)
    return tuple(worker.roots)
