"""Which models are let go: the least recently used, as many as it takes."""

from dataclasses import dataclass
from typing import Any

import pytest

from server.features.models.bounds import Bounds


@dataclass(frozen=True)
class Model:
    """As much of a loaded model as the bounds look at."""

    last_used: float
    bytes: int

    @property
    def version(self) -> Any:
        return self.last_used


@pytest.mark.parametrize(
    ("bounds", "gone"),
    [
        (Bounds(models=9), []),
        (Bounds(models=4), [1]),
        (Bounds(models=1), [1, 2, 3]),
        (Bounds(models=9, bytes=100), []),
        (Bounds(models=9, bytes=99), [1]),
        (Bounds(models=9, bytes=60), [1, 2]),
        (Bounds(models=9, bytes=1), [1, 2, 3]),
        (Bounds(models=4, bytes=79), [1, 2]),
    ],
)
def test_the_least_recently_used_go_first_and_the_last_of_them_stays(bounds: Bounds, gone: list[float]) -> None:
    free: Any = [Model(3, 10), Model(1, 20), Model(4, 10), Model(2, 20)]
    needed: Any = [Model(0, 40)]
    assert [model.last_used for model in bounds.over([*free, *needed], free)] == gone
    assert bounds.over(needed, []) == []
    awaited: Any = {1, 3}
    assert [model.last_used for model in bounds.over([*free, *needed], free, awaited)] == [2] * (len(gone) > 0)
