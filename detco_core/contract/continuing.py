"""What may differ in the config of a run that goes on from a checkpoint with all of its state: nothing that counts."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from detco_core.contract.config import RunConfig
from detco_core.contract.reader import plain

FREE_KEYS = (
    "preset",
    "data.workers",
    "train.log_every",
    "train.checkpoint_every",
    "train.warm_start",
    "monitor.",
    "alarms.",
    "track.",
)
"""Config keys (or beginnings of keys) that no number of the run depends on."""
LENGTH_KEYS = ("train.steps", "train.epochs")
"""Keys that may differ as well where consent is given to extend the run (`PretrainJob.extend`)."""


class Difference(NamedTuple):
    """One key that differs and may not."""

    key: str
    saved: Any
    asked: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.saved} -> {self.asked}"


def differences(saved: RunConfig, asked: RunConfig, *, extend: bool = False) -> Iterator[Difference]:
    """Each key of which the checkpoint's value and the one asked for differ, though they must not."""
    free = FREE_KEYS + (LENGTH_KEYS if extend else ())
    before, after = dict(_leaves(plain(saved))), dict(_leaves(plain(asked)))
    for key in before:
        if before[key] != after[key] and not key.startswith(free):
            yield Difference(key, before[key], after[key])


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
