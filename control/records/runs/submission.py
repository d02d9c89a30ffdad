"""Submitting a run: what is asked for, checked and written as one row, its first event and its wake-up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from control import tracing
from control.db.models import DatasetVersion, Run, RunDependency
from control.errors import NotFound, NotReady
from control.records.access.quotas import admit
from control.records.runs.bounds import check_labels, check_priority
from control.records.runs.kinds import QUEUES, Kind, Queue
from control.records.runs.moves import enter
from control.records.store import uses
from control.states import TERMINAL
from detco_core.contract.reader import digest


@dataclass(frozen=True, kw_only=True, slots=True)
class NewRun:
    """What is needed to submit a run."""

    kind: Kind
    spec: Mapping[str, Any]
    """The shape its kind asks for; ids resolved."""
    actor: str
    """Becomes `created_by`."""
    dataset_version_id: str | None = None
    config_digest: str | None = None
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    group: str | None = None
    priority: int = 0
    queue: Queue | None = None
    """None: that of its kind."""
    gpus: int = 1
    """Training slots a `gpu` run needs on each node (processes, on a worker without GPUs); light runs take one."""
    nodes: int = 1
    """Hosts that work on it together."""
    max_attempts: int = 3
    after: tuple[str, ...] = ()
    """Runs of any kind that must be completed first."""
    forked_from: str | None = None
    """The run whose checkpoint this one goes on from."""
    grace_seconds: float | None = None
    token_id: str | None = None
    """Whose quota it counts against; None: nobody's."""
    preemptible: bool = True
    """Whether a training run may be asked to make room for a more urgent one."""
    preempt: bool = False
    """Whether less urgent ones are asked to make room for it."""
    max_seconds: float | None = None
    """Workers may work on it this long, all attempts together; then it is saved and ends as failed."""
    idle_seconds: float | None = None
    """Its job may be silent this long; None: the service's setting."""
    keep: Mapping[str, Any] | None = None
    """Which checkpoints are kept (`control.retention.Policy`); None, or None in it: the service's setting."""
    traceparent: str | None = field(default_factory=tracing.current)
    """Of the span its attempts are children of."""


def create_run(session: Session, new: NewRun) -> Run:
    """Write a queued run, its first event and its wake-up.

    Raises:
        InvalidRequest: a label key that is not one, a priority out of range.
        QuotaExceeded: its token may have no more jobs waiting, or not that many slots.
        NotFound: a data set version or a run in `after` does not exist.
        NotReady: the data set's scan failed, or a run in `after` has already ended without completing.
    """
    check_labels(new.labels)
    check_priority(new.priority)
    version = _dataset_version(session, new.dataset_version_id) if new.kind != "check" else None
    for run_id in new.after:
        _check_dependency(session, run_id)
    queue = new.queue or QUEUES[new.kind]
    slots = max(1, new.gpus) * new.nodes if queue == "gpu" else 1
    admit(session, new.token_id, slots if queue == "gpu" else 0)
    run = Run(
        kind=new.kind,
        queue=queue,
        name=new.name,
        labels=dict(new.labels),
        group=new.group,
        priority=new.priority,
        spec=dict(new.spec),
        spec_digest=digest(dict(new.spec)),
        config_digest=new.config_digest,
        dataset_version_id=new.dataset_version_id,
        dataset=version.ref if version else None,
        forked_from=new.forked_from,
        slots_wanted=slots,
        nodes=new.nodes,
        max_attempts=new.max_attempts,
        grace_seconds=new.grace_seconds,
        token_id=new.token_id,
        preemptible=new.preemptible,
        preempt=new.preempt,
        max_seconds=new.max_seconds,
        idle_seconds=new.idle_seconds,
        keep=dict(new.keep) if new.keep else None,
        traceparent=new.traceparent,
        desired_state="run",
        attempt=0,
        fence=0,
        created_by=new.actor,
    )
    session.add(run)
    session.flush()
    uses.record(session, run)
    session.add_all(RunDependency(run_id=run.id, after_id=run_id) for run_id in dict.fromkeys(new.after))
    enter(session, run, "queued", None, new.actor)
    session.flush()
    return run


def _dataset_version(session: Session, version_id: str | None) -> DatasetVersion | None:
    if version_id is None:
        return None
    # Held in share mode, so that a scan cannot end between this look and the commit and leave the run waiting for ever.
    version = session.get(DatasetVersion, version_id, with_for_update={"read": True}, populate_existing=True)
    if version is None or version.state == "deleted":
        raise NotFound("data set version", version_id)
    if version.state == "failed":
        raise NotReady(f"data set {version.ref} could not be scanned: {version.reason}")
    return version


def _check_dependency(session: Session, run_id: str) -> None:
    before = session.get(Run, run_id, with_for_update={"read": True}, populate_existing=True)
    if before is None or before.deleted_at is not None:
        raise NotFound("run", run_id)
    if before.state in TERMINAL and before.state != "completed":
        raise NotReady(f"run {run_id} ended {before.state}: nothing can come after it")
