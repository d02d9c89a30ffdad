"""Submitting runs, finding them, and asking something of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from control import tracing
from control.db.models import DatasetVersion, Run, RunDependency
from control.errors import NotFound, NotReady
from control.records.access.quotas import admit
from control.records.journal.history import get_attempt, with_checkpoints
from control.records.names import NOUNS
from control.records.paging import Listing, Page, paginate
from control.records.runs.bounds import check_labels, check_priority
from control.records.runs.labels import has_label
from control.records.runs.moves import announce, enter, lock
from control.records.store import uses
from control.states import HELD, TERMINAL, Action, move
from detco_core.contract.reader import digest

Kind = Literal["pretrain", "evaluate", "export", "check", "import", "extract"]
Queue = Literal["gpu", "cpu"]

QUEUES: dict[Kind, Queue] = {
    "pretrain": "gpu",
    "evaluate": "cpu",
    "export": "cpu",
    "check": "cpu",
    "import": "cpu",
    "extract": "gpu",
}


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


def get_run(session: Session, run_id: str, kinds: Collection[str] | None = None) -> Run:
    """The run; raises `NotFound` also when it is of another kind than `kinds`."""
    run = session.get(Run, run_id)
    if run is None or run.deleted_at is not None or (kinds is not None and run.kind not in kinds):
        noun = NOUNS[next(iter(kinds))] if kinds and len(kinds) == 1 else "run"
        raise NotFound(noun, run_id)
    return run


def is_deleted(session: Session, run_id: str) -> bool:
    """Whether somebody deleted the run."""
    return session.scalar(select(Run.deleted_at).where(Run.id == run_id)) is not None


def list_runs(
    session: Session,
    kinds: Collection[str],
    *,
    state: str | None = None,
    label: str | None = None,
    group: str | None = None,
    page: Page | None = None,
) -> Listing[Run]:
    """Runs of these kinds, newest first; `label` is `key` or `key=value`."""
    query = select(Run).where(Run.kind.in_(kinds), Run.deleted_at.is_(None))
    if state is not None:
        query = query.where(Run.state == state)
    if group is not None:
        query = query.where(Run.group == group)
    if label is not None:
        query = query.where(has_label(label))
    return paginate(session, query, Run.id, page or Page())


def request_action(session: Session, run: Run, action: Action, actor: str) -> Run:
    """Ask something of a run: what nobody works on moves at once, what a worker holds at its next look.

    Asking again for what is already wanted or achieved changes nothing.

    Raises:
        IllegalMove: naming the actions that are lawful in the run's state.
    """
    held = lock(session, run.id)
    if held is None or held.deleted_at is not None:
        raise NotFound("run", run.id)
    lawful = move(held.state, held.desired_state, action, saved=is_saved(session, held))
    if lawful is None:
        return held
    held.desired_state = lawful.desired
    held.not_before = None if action == "resume" else held.not_before
    if lawful.state in HELD:
        # Taken back before its job ran: it is starting still.
        began = lawful.state != "running" or get_attempt(session, held.id, held.fence).started_at is not None
        held.state = lawful.state if began else "starting"
        announce(session, held, actor)
    else:
        enter(session, held, lawful.state, f"{action} by {actor}" if lawful.state in TERMINAL else None, actor)
    session.flush()
    return held


def is_saved(session: Session, run: Run) -> bool:
    """Whether nobody works on the run and it has a checkpoint: it could be called finished as it is."""
    return run.id in saved_among(session, [run])


def saved_among(session: Session, runs: Collection[Run]) -> set[str]:
    """Ids of those runs that are saved (`is_saved`)."""
    left = [run.id for run in runs if run.kind == "pretrain" and run.state in ("queued", "paused")]
    return with_checkpoints(session, left) if left else set()


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
