"""Submitting evaluations: one task on one source and one data set, everything resolved to ids at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from control.db.models import DatasetVersion
from control.errors import InvalidRequest
from control.records.datasets.datasets import resolve
from control.records.models.sources import resolve_source
from control.records.runs.submission import NewRun
from detco_core.contract.evaluations import read_options
from detco_core.contract.reader import plain

KINDS: Mapping[str, tuple[str, ...]] = {"knn": ("labelled",)}
"""Kinds of data set each task reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEvaluation:
    """What is needed to submit an evaluation."""

    task: str
    source: Mapping[str, Any]
    """As a request names it; see `sources.resolve_source`."""
    dataset: str
    options: Mapping[str, Any]
    seed: int = 0


def evaluation_run(session: Session, asked: NewEvaluation, *, after: tuple[str, ...] = (), **more: Any) -> NewRun:
    """The run of kind `evaluate` for it, to be done `after` these runs; `more` are further fields of `NewRun`.

    Raises:
        InvalidDocument: an unknown task, an unknown option, or a value out of range.
        InvalidRequest: a data set of a kind the task does not read.
        NotFound, NotReady: what it names does not exist, or not yet.
    """
    options = read_options(asked.task, asked.options)
    version = readable(session, asked.task, asked.dataset, "dataset")
    origin = resolve_source(session, asked.source, asked.seed)
    spec = {
        "task": asked.task,
        "options": plain(options),
        "source": origin.spec,
        "dataset_version_id": version.id,
        "seed": asked.seed,
    }
    return NewRun(kind="evaluate", spec=spec, dataset_version_id=version.id, after=(*after, *origin.after), **more)


def readable(session: Session, task: str, dataset: str, path: str) -> DatasetVersion:
    """The data set version of that reference.

    Raises:
        InvalidRequest: at `path`: its kind is none that the task reads.
        NotFound, NotReady: there is no such data set, or its scan failed.
    """
    version = resolve(session, dataset)
    if version.kind not in KINDS.get(task, (version.kind,)):
        kinds = " or ".join(KINDS[task])
        raise InvalidRequest(path, f"{task} reads data sets of kind {kinds}; {version.ref} is {version.kind}")
    return version
