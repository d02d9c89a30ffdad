"""Grids and lists of combinations, and what is wrong with them."""

from typing import Any

import pytest

from control.errors import InvalidRequest
from control.records.sweeps import combinations


def test_a_grid_is_every_combination_the_last_key_fastest() -> None:
    found = combinations.of_grid({"optim.lr": [0.1, 0.3], "seed": [1, 2]})
    assert [tuple(one.values()) for one in found] == [(0.1, 1), (0.1, 2), (0.3, 1), (0.3, 2)]
    assert combinations.varied(found) == ["optim.lr", "seed"]
    assert combinations.of_grid({}) == [{}]


def test_a_list_is_taken_as_it_is() -> None:
    listed: list[combinations.Combination] = [{"seed": 1}, {"optim.lr": 0.1, "seed": 1}]
    assert combinations.of_list(listed) == listed
    assert combinations.varied(listed) == ["seed", "optim.lr"]


@pytest.mark.parametrize(
    ("grid", "fault"),
    [
        ({"seed": list(range(257))}, "grid: makes 257 runs; a sweep has 1 to 256"),
        ({"seed": list(range(100)), "optim.lr": list(range(100))}, "makes 10000 runs"),
        ({"seed": []}, "grid.seed: give at least one value"),
        ({"seed": [1, 2, 1]}, r"grid: combinations 1 and 3 are the same \(seed=1\): vary seed to repeat one"),
        ({"views.patch_size": [[1], [1]]}, "are the same"),
    ],
)
def test_a_grid_that_cannot_be(grid: dict[str, list[Any]], fault: str) -> None:
    with pytest.raises(InvalidRequest, match=fault):
        combinations.of_grid(grid)


def test_a_list_that_cannot_be() -> None:
    with pytest.raises(InvalidRequest, match="combinations: makes 0 runs"):
        combinations.of_list([])
    with pytest.raises(InvalidRequest, match="combinations 1 and 2 are the same"):
        combinations.of_list([{"a": 1, "b": 2}, {"b": 2, "a": 1}])


def test_values_read_as_people_write_them() -> None:
    one = {"optim.lr": 0.1, "views.augment": "paper", "train.epochs": None, "method.stage_weights": [0.1, 1]}
    assert (
        combinations.text(one) == "optim.lr=0.1, views.augment=paper, train.epochs=null, method.stage_weights=[0.1,1]"
    )
    assert combinations.text({}) == "nothing varied"
    assert combinations.labels({"a": "x" * 300, "b": True}) == {"a": "x" * 200, "b": "true"}
