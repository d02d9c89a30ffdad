"""Which checkpoints of a run are kept, and why: the union of what a policy asks for and of what others need.

Pure: the caller knows the rows. What is not kept may be deleted at any time.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

BEST, LATEST, EVERY, PINNED, RESUME = "best", "latest", "every_epochs", "pinned", "resume"


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What is kept of a run beside what is pinned and what others need."""

    best: int = 1
    """As many of the highest scores of the run's monitor; those without a score do not count."""
    latest: int = 2
    """As many of the newest, at least one."""
    every_epochs: float = 0.0
    """The first checkpoint at or after every so many epochs; 0: none."""

    def changed(self, wanted: Mapping[str, Any] | None) -> "Policy":
        """The policy with what `wanted` says; None in it means: as here."""
        ours = {field.name: getattr(self, field.name) for field in fields(self)}
        return Policy(**ours | {key: value for key, value in (wanted or {}).items() if value is not None})


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A checkpoint in the store."""

    id: str
    epoch: float
    score: float | None = None
    """By the run's monitor; higher is better."""
    pinned: bool = False
    damaged: bool = False
    """Its file cannot be read: it takes nobody's place, and is left for a person to look at."""
    held_by: tuple[str, ...] = ()
    """What needs it, as a person names it: `model version detector:1`, `run run_...`."""


Reasons = dict[str, tuple[str, ...]]
"""By checkpoint id; empty: it may go."""


def reasons(checkpoints: Sequence[Candidate], policy: Policy, *, goes_on: bool) -> Reasons:
    """Why each checkpoint is kept.

    Args:
        checkpoints: all of a run that are in the store, the one to continue from first.
        policy: what the run's owner wants.
        goes_on: the run has not ended: its newest checkpoint is where the next attempt continues.
    """
    sound = [one for one in checkpoints if not one.damaged]
    chosen: dict[str, set[str]] = {
        LATEST: {one.id for one in sound[: max(1, policy.latest)]},
        BEST: {one.id for one in _best(sound, policy.best)},
        EVERY: {one.id for one in _every(sound, policy.every_epochs)},
        RESUME: {one.id for one in sound[:1] if goes_on},
    }
    return {one.id: _why(one, chosen) for one in checkpoints}


def _why(one: Candidate, chosen: Mapping[str, set[str]]) -> tuple[str, ...]:
    own = [word for word, ids in chosen.items() if one.id in ids]
    return (*own, *([PINNED] if one.pinned else []), *(["damaged"] if one.damaged else []), *one.held_by)


def _best(sound: Sequence[Candidate], count: int) -> list[Candidate]:
    """The newest first among equals."""
    scored = [one for one in sound if one.score is not None and math.isfinite(one.score)]
    rank: Callable[[Candidate], float] = lambda one: -(one.score or 0.0)  # noqa: E731 - its type must be said
    return sorted(scored, key=rank)[:count]


def _every(sound: Sequence[Candidate], epochs: float) -> list[Candidate]:
    """The first of each stretch of so many epochs that begins with a checkpoint at or after its first epoch."""
    if epochs <= 0:
        return []
    first: dict[int, Candidate] = {}
    for one in reversed(sound):
        # Epochs are sums of floats: 0.1 * 30 must count as 3.
        first.setdefault(math.floor(one.epoch / epochs + 1e-6), one)
    return [one for stretch, one in first.items() if stretch > 0]
