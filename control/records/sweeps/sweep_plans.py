"""Turns what a person asks of a sweep into the plans of all its runs: either all are good, or none is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy.orm import Session

from control.db.models import DatasetVersion
from control.errors import InvalidRequest
from control.records.datasets.datasets import resolve
from control.records.planning.estimates import Estimator
from control.records.planning.evaluations import readable
from control.records.planning.layouts import Layout
from control.records.planning.plans import Plan, plan_config, start_from
from control.records.planning.totals import Total, total
from control.records.scheduling.workers import list_slots
from control.records.sweeps import combinations
from control.records.sweeps.combinations import Combination
from detco_core.contract.config import RunConfig, override
from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.contract.evaluations import TASKS, read_options
from detco_core.contract.presets import preset
from detco_core.contract.reader import plain

_ALONE = Layout(1)
_MOST_FAULTS = 50
"""That are named in one answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepEvaluation:
    """What a checkpoint of each completed run is evaluated by."""

    task: str
    dataset: str
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    checkpoint: Literal["last", "best"] = "last"


@dataclass(frozen=True, kw_only=True, slots=True)
class NewSweep:
    """What is needed to submit a sweep: a grid or a list of combinations, and what its runs have in common."""

    dataset: str
    preset: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Sequence[Any]] | None = None
    combinations: Sequence[Combination] | None = None
    init: Mapping[str, Any] | None = None
    evaluate: SweepEvaluation | None = None
    layout: Layout = _ALONE
    """Of each run."""
    max_parallel: int | None = None
    terms: Mapping[str, Any]
    """What else is said of every run, as fields of `NewRun`; `actor` at least."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One combination and the run it becomes."""

    overrides: Combination
    plan: Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPlan:
    """What would be run."""

    asked: NewSweep
    dataset: DatasetVersion
    runs: Sequence[Planned]
    evaluate: dict[str, Any] | None
    """Resolved: `Sweep.evaluate`."""

    @property
    def varied(self) -> list[str]:
        return combinations.varied([one.overrides for one in self.runs])

    def estimate(self, session: Session) -> Total:
        """What all of it will take together."""
        estimator, processes = Estimator(session), self.asked.layout.processes
        found = [estimator.run(one.plan.config, processes, self.dataset.images) for one in self.runs]
        asked = self.evaluate
        evaluation = None
        if asked is not None:
            images = resolve(session, asked["dataset"]).images
            evaluation = estimator.evaluation(asked["task"], asked["options"], images)
        room = sum(slot.purpose == "train" for slot in list_slots(session)) // processes
        parallel = min(len(found), max(1, room), self.asked.max_parallel or len(found))
        return total(found, evaluation, processes, parallel)


def plan_sweep(session: Session, asked: NewSweep) -> SweepPlan:
    """The resolved runs, every one of them checked.

    Raises:
        InvalidDocument: an unknown preset.
        InvalidRequest: too many combinations, the same one twice, or any that is refused, each named.
        NotFound, NotReady: there is no such data set or source, or its scan or import failed.
    """
    base = preset(asked.preset)
    version = resolve(session, asked.dataset)
    found = _combinations(asked)
    for key in combinations.varied(found):
        if key in asked.terms.get("labels", {}):
            raise InvalidRequest(f"labels.{key}", "the sweep varies it, and labels each run with its value")
    faults: dict[tuple[str, str], list[str]] = {}
    runs = []
    for number, combination in enumerate(found, 1):
        try:
            config = override(base, {**asked.overrides, **combination})
            start = start_from(session, config, asked.init)
            runs.append(Planned(combination, plan_config(session, config, version, asked.layout, start)))
        except (InvalidDocument, InvalidRequest) as error:
            for fault in error.faults:
                where = (_path(asked, number, combination, fault.path), fault.message)
                faults.setdefault(where, []).append(f"combination {number}: {combinations.text(combination)}")
    if faults:
        raise _refusal(faults, len(found))
    return SweepPlan(asked=asked, dataset=version, runs=runs, evaluate=_evaluate(session, asked, runs))


def _combinations(asked: NewSweep) -> list[Combination]:
    if (asked.grid is None) == (asked.combinations is None):
        raise InvalidRequest("grid", "give either grid or combinations")
    if asked.grid is not None:
        return combinations.of_grid(asked.grid)
    return combinations.of_list(asked.combinations or ())


def _path(asked: NewSweep, number: int, combination: Combination, path: str) -> str:
    """Where in the request a fault of one combination lies; `path` is a key of the config, or of a run's request."""
    key = path.removeprefix("overrides.")
    if key in combination:
        return f"grid.{key}" if asked.grid is not None else f"combinations.{number - 1}.{key}"
    return path if key != path or path in ("gpus", "nodes", "dataset", "init") else f"overrides.{path}".rstrip(".")


def _refusal(faults: Mapping[tuple[str, str], list[str]], count: int) -> InvalidRequest:
    found = []
    for (path, message), where in faults.items():
        more = f" and {len(where) - 1} more" if len(where) > 1 else ""
        found.append(Fault(path, message if len(where) == count > 1 else f"{message} ({where[0]}{more})"))
    return InvalidRequest(found[0].path, found[0].message, *found[1:_MOST_FAULTS])


def _evaluate(session: Session, asked: NewSweep, runs: Sequence[Planned]) -> dict[str, Any] | None:
    wanted = asked.evaluate
    if wanted is None:
        return None
    if wanted.task not in TASKS:
        raise InvalidRequest("evaluate.task", f"{wanted.task!r} is not one of {', '.join(TASKS)}")
    try:
        options = plain(read_options(wanted.task, wanted.options))
    except InvalidDocument as error:
        faults = [Fault(f"evaluate.options.{fault.path}", fault.message) for fault in error.faults]
        raise InvalidRequest(faults[0].path, faults[0].message, *faults[1:]) from error
    if wanted.checkpoint == "best" and not all(_has_monitor(one.plan.config) for one in runs):
        message = "there is no best without a monitor: override monitor.task and monitor.dataset, or evaluate the last"
        raise InvalidRequest("evaluate.checkpoint", message)
    version = readable(session, wanted.task, wanted.dataset, "evaluate.dataset")
    return {
        "task": wanted.task,
        "dataset": version.ref,
        "options": options,
        "seed": wanted.seed,
        "checkpoint": wanted.checkpoint,
    }


def _has_monitor(config: RunConfig) -> bool:
    return config.monitor.task is not None
