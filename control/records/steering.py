"""Changing what was said of a run after it was submitted: its name, its urgency, its limits, its number of GPUs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified

from control.db.models import Run
from control.errors import InvalidRequest, NotFound, NotReady, StaleVersion
from control.records import outbox, quotas
from control.records.bounds import check_labels, check_priority
from control.records.history import newest_checkpoint
from control.records.moves import lock
from control.records.runs import request_action
from control.states import TERMINAL
from detco_core.contract.reader import digest

ALWAYS = frozenset({"name", "labels", "group"})
"""What may be changed of a run that has ended."""
CHANGEABLE = ALWAYS | {"priority", "max_attempts", "max_seconds", "idle_seconds", "preemptible", "preempt"}


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


def resume(session: Session, run: Run, how: Resumption, actor: str) -> Run:
    """Queue a paused run again, on another number of GPUs if `how` says so.

    Raises:
        IllegalMove: naming the actions that are lawful in the run's state.
        InvalidRequest: without consent, or on a number that its batch cannot be shared out to.
        NotReady: the run is queued or held on another number by now.
        QuotaExceeded: its token may never hold that many slots.
    """
    held = lock(session, run.id)
    if held is None:
        raise NotFound("run", run.id)
    if how.gpus is not None and how.gpus != held.slots_wanted:
        if held.kind != "pretrain":
            raise InvalidRequest("gpus", "only a pretraining run has a number of GPUs")
        if held.state == "paused":
            _regroup(session, held, how)
        elif held.state not in TERMINAL:
            raise NotReady(f"run {held.id} is {held.state} on {held.slots_wanted} GPUs: pause it, then resume it")
    return request_action(session, held, "resume", actor)


def _regroup(session: Session, run: Run, how: Resumption) -> None:
    assert how.gpus is not None  # noqa: S101 - the caller has looked
    batch = run.spec["config"]["train"]["batch_size"]
    if batch % how.gpus:
        raise InvalidRequest("gpus", f"train.batch_size ({batch}) must be a multiple of it: it is shared out evenly")
    begun = newest_checkpoint(session, run.id) is not None or run.spec.get("resume")
    if begun and not how.allow_world_size_change:
        message = f"the run had {run.slots_wanted} processes; on another number batch norm groups change"
        raise InvalidRequest("gpus", f"{message}: set allow_world_size_change to consent")
    quotas.check_slots(session, run.token_id, how.gpus)
    run.slots_wanted = run.spec["gpus"] = how.gpus
    run.spec["allow_world_size_change"] = run.spec.get("allow_world_size_change", False) or how.allow_world_size_change
    run.spec_digest = digest(run.spec)
    flag_modified(run, "spec")
