"""Steering runs that were submitted: one or many of them, and what was said of them: name, urgency, limits, GPUs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from control.db.models import Run
from control.errors import InvalidRequest, NotFound, NotReady, StaleVersion
from control.records import outbox
from control.records.access import quotas
from control.records.journal.history import newest_checkpoint
from control.records.planning import monitors
from control.records.runs.actions import request_action
from control.records.runs.bounds import check_labels, check_priority
from control.records.runs.labels import has_label
from control.records.runs.moves import lock
from control.states import TERMINAL, Action
from detco_core.contract.reader import digest

ALWAYS = frozenset({"name", "labels", "group"})
"""What may be changed of a run that has ended."""
CHANGEABLE = ALWAYS | {
    "priority",
    "max_attempts",
    "max_seconds",
    "idle_seconds",
    "grace_seconds",
    "preemptible",
    "preempt",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Resumption:
    """On what a paused run goes on."""

    gpus: int | None = None
    """None: on as many as before."""
    allow_world_size_change: bool = False
    """Consent to go on with another number of processes: batch norm groups change."""


def change(session: Session, run_id: str, changes: Mapping[str, Any], expected_version: int | None = None) -> Run:
    """Set some of `CHANGEABLE`; a new `max_attempts` or limit holds from the next time it is looked at.

    Raises:
        NotFound: there is no such run.
        StaleVersion: the row is not at `expected_version` any more.
        InvalidRequest: a value out of range.
        NotReady: the run has ended, and what is to be changed means nothing any more.
    """
    run = lock(session, run_id)
    if run is None:
        raise NotFound("run", run_id)
    if expected_version is not None and run.version != expected_version:
        raise StaleVersion(f"run {run_id}", expected_version, run.version)
    meant = {name: value for name, value in changes.items() if value != getattr(run, name)}
    if run.state in TERMINAL and (late := sorted(meant.keys() - ALWAYS)):
        raise NotReady(f"run {run_id} has ended {run.state}: its {', '.join(late)} cannot be changed any more")
    check_labels(meant.get("labels", {}))
    check_priority(meant.get("priority", 0))
    for name, value in meant.items():
        setattr(run, name, value)
    if run.state == "queued" and meant.keys() - ALWAYS:
        outbox.owe(session, run.queue)
    session.flush()
    return run


def steer(session: Session, run: Run, action: Action, actor: str, how: Resumption | None = None) -> Run:
    """Ask something of a run; `how` is for `resume`.

    Raises:
        IllegalMove: naming the actions that are lawful in the run's state.
        InvalidRequest: another number of GPUs without consent, or one that its batch cannot be shared out to.
        NotReady: the run is queued or held on another number by now.
        QuotaExceeded: its token may never hold that many slots.
    """
    if how is not None and how.gpus is not None:
        _prepare(session, run, how, how.gpus)
    was = run.state
    run = request_action(session, run, action, actor)
    if run.state == "completed" and was != "completed":
        monitors.note_end(session, run)
    return run


def matching(
    session: Session, group: str | None, label: str | None, state: str | None, limit: int
) -> tuple[list[str], int]:
    """Ids of jobs of any kind, oldest first, that have not ended; and how many more there are beyond `limit`."""
    query = select(Run.id).where(Run.state.not_in(TERMINAL))
    if group is not None:
        query = query.where(Run.group == group)
    if label is not None:
        query = query.where(has_label(label))
    if state is not None:
        query = query.where(Run.state == state)
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    return list(session.scalars(query.order_by(Run.id).limit(limit))), max(0, total - limit)


def _prepare(session: Session, run: Run, how: Resumption, gpus: int) -> None:
    """Let a paused run go on on so many GPUs."""
    held = lock(session, run.id)
    if held is None:
        raise NotFound("run", run.id)
    if held.kind != "pretrain":
        raise InvalidRequest("gpus", "only a pretraining run has a number of GPUs")
    if gpus == held.spec["gpus"] or held.state in TERMINAL:
        return
    if held.state != "paused":
        raise NotReady(f"run {held.id} is {held.state} on {held.spec['gpus']} GPUs: pause it, then resume it")
    _regroup(session, held, how, gpus)


def _regroup(session: Session, run: Run, how: Resumption, gpus: int) -> None:
    batch = run.spec["config"]["train"]["batch_size"]
    if batch % (gpus * run.nodes):
        raise InvalidRequest("gpus", f"train.batch_size ({batch}) must be a multiple of it: it is shared out evenly")
    begun = newest_checkpoint(session, run.id) is not None or run.spec.get("resume")
    if begun and not how.allow_world_size_change:
        message = f"the run had {run.slots_wanted} processes; on another number batch norm groups change"
        raise InvalidRequest("gpus", f"{message}: set allow_world_size_change to consent")
    quotas.check_slots(session, run.token_id, gpus * run.nodes)
    run.slots_wanted = gpus * run.nodes
    changed = {"gpus": gpus, "allow_world_size_change": how.allow_world_size_change or _has_consent(run)}
    run.spec = run.spec | changed
    run.spec_digest = digest(run.spec)


def _has_consent(run: Run) -> bool:
    return bool(run.spec.get("allow_world_size_change"))
