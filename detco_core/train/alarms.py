"""Alarms: what in a run's metrics a person should hear of at once. Each is told once until it is over."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from detco_core.contract.config import RunConfig
from detco_core.contract.events import Warned

STARVATION_SECONDS = 60.0
"""Waiting for data must go on for this long before it is told: a start, or a slow file, is no starvation."""
STUCK_MARGIN = 0.05
"""A term counts as at chance when its loss is at most this far, in nats, under ln(queue_size + 1)."""


@dataclass(kw_only=True)
class Alarms:
    """Looks at the values of metric events, in the order of their steps."""

    config: RunConfig
    clock: Callable[[], float] = time.monotonic
    _told: set[str] = field(default_factory=set, init=False)
    """Names of what is wrong and was told."""
    _since: dict[str, int] = field(default_factory=dict, init=False)
    """By name of what is wrong, the first step of those without a break at which it was."""
    _starving: float | None = field(default=None, init=False)
    """Since when the share of waiting has been too high."""

    def look(self, step: int, values: Mapping[str, float]) -> Iterator[Warned]:
        """The alarms that are new with the values of `step`."""
        if flat := self._new("std", self._lasting(step, self._flat(values), "embedding_std/", values)):
            yield _collapsed(step, flat, self.floor)
        if stuck := self._new("stuck", self._lasting(step, self._at_chance(values), "loss/", values)):
            yield _no_better_than_chance(step, stuck, self.chance)
        if waiting := self._new("wait", self._waiting(values)):
            yield _starved(step, waiting["data_wait"], self.config.data.workers)

    def state_dict(self) -> dict[str, Any]:
        """What was told and since when what is wrong; how long data have been waited for begins anew."""
        return {"told": sorted(self._told), "since": dict(self._since)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave: what was told is not told again, and patience is not given twice."""
        self._told, self._since = set(state["told"]), dict(state["since"])

    @property
    def floor(self) -> float:
        """Embedding std under which an embedding counts as collapsed."""
        return self.config.alarms.collapse_std / math.sqrt(self.config.method.dim)

    @property
    def chance(self) -> float:
        """Loss of a term whose positive is like any negative."""
        return math.log(self.config.method.queue_size + 1)

    def _flat(self, values: Mapping[str, float]) -> set[str]:
        # One image has no spread, collapsed or not.
        if self.config.train.batch_size < 2:
            return set()
        return {name for name, std in values.items() if name.startswith("embedding_std/") and std < self.floor}

    def _at_chance(self, values: Mapping[str, float]) -> set[str]:
        if not self.config.alarms.stuck_steps:
            return set()
        lowest = self.chance - STUCK_MARGIN
        return {name for name, loss in values.items() if name.startswith("loss/") and loss >= lowest}

    def _lasting(self, step: int, wrong: set[str], prefix: str, values: Mapping[str, float]) -> dict[str, float]:
        """Of the values under `prefix` that are wrong now, those that have been for `stuck_steps`."""
        for name in [name for name in self._since if name.startswith(prefix) and name not in wrong]:
            del self._since[name]
        for name in wrong:
            self._since.setdefault(name, step)
        patience = self.config.alarms.stuck_steps
        return {name: values[name] for name in values if name in wrong and step - self._since[name] >= patience}

    def _waiting(self, values: Mapping[str, float]) -> dict[str, float]:
        limit, wait, now = self.config.alarms.data_wait, values.get("data_wait", 0.0), self.clock()
        if not limit or wait <= limit:
            self._starving = None
            return {}
        if self._starving is None:
            self._starving = now
        return {"data_wait": wait} if now - self._starving >= STARVATION_SECONDS else {}

    def _new(self, kind: str, wrong: Mapping[str, float]) -> dict[str, float]:
        """Of what is wrong now, what was not told; what is over is forgotten."""
        before = {name for name in self._told if name.startswith(f"{kind}:")}
        now = {f"{kind}:{name}" for name in wrong}
        self._told = (self._told - before) | now
        return {name: value for name, value in wrong.items() if f"{kind}:{name}" not in before}


def _collapsed(step: int, flat: Mapping[str, float], floor: float) -> Warned:
    names = ", ".join(name.removeprefix("embedding_std/") for name in flat)
    message = (
        f"the embeddings of {names} have collapsed: their std over the batch is under {floor:.4g} at step {step}, so "
        "all images look alike to them; lower optim.lr, add optim.warmup_steps, or check that the images differ"
    )
    return Warned(code="collapse", message=message, details={"step": step, "reason": "std", "values": dict(flat)})


def _no_better_than_chance(step: int, stuck: Mapping[str, float], chance: float) -> Warned:
    names = ", ".join(name.removeprefix("loss/") for name in stuck)
    message = (
        f"the loss of {names} is still at chance, ln(queue_size + 1) = {chance:.4g}, at step {step}: nothing is "
        "learned there; raise optim.lr if it is very small, else lower it, and look at embedding_std for collapse"
    )
    return Warned(code="collapse", message=message, details={"step": step, "reason": "stuck", "values": dict(stuck)})


def _starved(step: int, wait: float, workers: int) -> Warned:
    message = (
        f"{wait:.0%} of the time goes into waiting for data at step {step}: raise data.workers (now {workers}) if the "
        "machine has idle cores, lower data.decode_short_side, or store the images smaller"
    )
    return Warned(
        code="data_starvation", message=message, details={"step": step, "data_wait": wait, "workers": workers}
    )
