"""Forks: a new run that goes on from a checkpoint of another, with its weights alone or with all of its state."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy.orm import Session

from control.db.models import Checkpoint, DatasetVersion, Run
from control.errors import InvalidRequest
from control.records.datasets.datasets import resolve
from control.records.journal.history import usable_checkpoint
from control.records.planning.estimates import steps_of
from control.records.planning.layouts import Layout
from control.records.planning.plans import Plan, Start, Warned, plan_config, start_from
from detco_core.contract.config import RunConfig, override, read_config
from detco_core.contract.continuing import LENGTH_KEYS, differences
from detco_core.contract.errors import Fault

Carry = Literal["weights", "all"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NewFork:
    """What is asked of a fork."""

    checkpoint: str = "last"
    """`last`, `best` or an id."""
    carry: Carry = "weights"
    """weights: a new run that starts from the encoder, heads included. all: the same run goes on, its optimizer, queues
    and random state with it."""
    overrides: Mapping[str, Any]
    """Of the forked run's config."""
    dataset: str | None = None
    """None: the forked run's."""
    gpus: int | None = None
    """On each node; None: as many as the forked run."""
    nodes: int | None = None
    """None: as many as the forked run."""
    allow_world_size_change: bool = False
    """Consent to carry all to another number of processes: batch norm groups change."""


def plan_fork(session: Session, run: Run, asked: NewFork) -> Plan:
    """The run that would go on from `run`.

    Raises:
        InvalidDocument: keys and values of the overrides.
        InvalidRequest: what cannot change when all is carried is changed, or nothing is left to do.
        NotFound, NotReady: there is no such checkpoint or data set, or not yet.
    """
    checkpoint = usable_checkpoint(session, run.id, asked.checkpoint)
    before = read_config(run.spec["config"])
    config = override(before, asked.overrides)
    version = _dataset(session, run, asked)
    had = Layout.of(run.spec)
    layout = Layout(asked.gpus or had.gpus, asked.nodes or had.nodes)
    if asked.carry == "weights":
        start = start_from(session, config, {"run": run.id, "checkpoint": checkpoint.id})
        return plan_config(session, config, version, layout, replace(start, forked_from=run.id))
    _check_same(run, asked, before, config, version, layout)
    steps = _length(config, checkpoint, version)
    resume = {
        "run": run.id,
        "checkpoint_id": checkpoint.id,
        "allow_world_size_change": asked.allow_world_size_change,
    }
    warnings = tuple(_schedule(before, config, checkpoint, steps, version))
    start = Start(resume=resume, forked_from=run.id, warnings=warnings)
    return plan_config(session, config, version, layout, start)


def _dataset(session: Session, run: Run, asked: NewFork) -> DatasetVersion:
    if asked.dataset is not None:
        return resolve(session, asked.dataset)
    return session.get_one(DatasetVersion, run.dataset_version_id)


def _check_same(
    run: Run, asked: NewFork, before: RunConfig, config: RunConfig, version: DatasetVersion, layout: Layout
) -> None:
    """Refuse what would make it another run."""
    advice = "carry weights to change it"
    changed = tuple(differences(before, config, extend=True))
    if changed:
        faults = [Fault(f"overrides.{one.key}", f"cannot change where all is carried; {advice}") for one in changed]
        raise InvalidRequest(faults[0].path, faults[0].message, *faults[1:])
    if version.id != run.dataset_version_id:
        raise InvalidRequest("dataset", f"must be {run.dataset} where all is carried; {advice}")
    had = Layout.of(run.spec).processes
    if layout.processes != had and not asked.allow_world_size_change:
        message = f"the run had {had} processes; on another number batch norm groups change"
        raise InvalidRequest("gpus", f"{message}: set allow_world_size_change to consent")


def _length(config: RunConfig, checkpoint: Checkpoint, version: DatasetVersion) -> int:
    steps = steps_of(config, version.images) or 0
    if steps <= checkpoint.step:
        message = f"the run has {steps} steps and the checkpoint is of step {checkpoint.step}: nothing is left to do"
        raise InvalidRequest("overrides", f"{message}; override {' or '.join(LENGTH_KEYS)} with more")
    return steps


def _schedule(
    before: RunConfig, config: RunConfig, checkpoint: Checkpoint, steps: int, version: DatasetVersion
) -> Iterator[Warned]:
    """What becomes of the learning rate when the length changes."""
    planned = steps_of(before, version.images)
    if planned and planned != steps:
        message = (
            f"warm-up and cosine are laid over the new length of {steps} steps (before: {planned}): at step "
            f"{checkpoint.step} the learning rate goes on from another value than it ended with"
        )
        yield Warned("schedule_extended", message)
