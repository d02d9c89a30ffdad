"""The combinations of a sweep: those of a grid, or those that are listed; each is a few overrides."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from control.errors import InvalidRequest
from detco_core.contract.reader import canonical_json

MAX_RUNS = 256
"""Of one sweep."""

Combination = Mapping[str, Any]


def of_grid(grid: Mapping[str, Sequence[Any]]) -> list[Combination]:
    """Every combination of the values, the last key varying fastest; raises `InvalidRequest`."""
    for key, values in grid.items():
        if not values:
            raise InvalidRequest(f"grid.{key}", "give at least one value")
    count = math.prod(len(values) for values in grid.values())
    _check_count("grid", count)
    return _distinct("grid", [dict(zip(grid, chosen, strict=True)) for chosen in itertools.product(*grid.values())])


def of_list(listed: Sequence[Combination]) -> list[Combination]:
    """The combinations as they are given; raises `InvalidRequest`."""
    _check_count("combinations", len(listed))
    return _distinct("combinations", list(listed))


def varied(combinations: Sequence[Combination]) -> list[str]:
    """The keys any of them sets, in order."""
    return list(dict.fromkeys(key for combination in combinations for key in combination))


def text(combination: Combination) -> str:
    """`optim.lr=0.1, seed=2`"""
    return ", ".join(f"{key}={value_text(value)}" for key, value in combination.items()) or "nothing varied"


def value_text(value: Any) -> str:
    """A word as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def labels(combination: Combination) -> dict[str, str]:
    """The varied values as labels: evaluations are compared by them."""
    return {key: value_text(value)[:200] for key, value in combination.items()}


def _check_count(path: str, count: int) -> None:
    if not 1 <= count <= MAX_RUNS:
        raise InvalidRequest(path, f"makes {count} runs; a sweep has 1 to {MAX_RUNS}")


def _distinct(path: str, combinations: list[Combination]) -> list[Combination]:
    seen: dict[str, int] = {}
    for number, combination in enumerate(combinations, 1):
        first = seen.setdefault(canonical_json(combination), number)
        if first != number:
            where = f"combinations {first} and {number} are the same ({text(combination)})"
            raise InvalidRequest(path, f"{where}: vary seed to repeat one")
    return combinations
