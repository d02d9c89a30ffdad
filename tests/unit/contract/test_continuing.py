"""What a run that goes on from a checkpoint may have different."""

from typing import Any

import pytest

from detco_core.contract.config import override
from detco_core.contract.continuing import differences
from detco_core.contract.presets import smoke


def changed(overrides: dict[str, Any], *, extend: bool = False) -> list[str]:
    return [str(found) for found in differences(smoke(), override(smoke(), overrides), extend=extend)]


@pytest.mark.parametrize(
    "overrides",
    [{}, {"data.workers": 3}, {"train.checkpoint_every": 7}, {"alarms.stuck_steps": 5}, {"track.mlflow_uri": "x"}],
)
def test_what_no_number_depends_on_may_differ(overrides: dict[str, Any]) -> None:
    assert changed(overrides) == []


def test_everything_else_is_named_with_both_values() -> None:
    overrides = {"optim.lr": 0.5, "method.temperature": 0.1, "seed": 1}
    expected = ["seed: 0 -> 1", "method.temperature: 0.2 -> 0.1", "optim.lr: 0.03 -> 0.5"]
    assert changed(overrides) == changed(overrides, extend=True) == expected


@pytest.mark.parametrize("length", [{"train.steps": 40}, {"train.epochs": 3}])
def test_the_length_may_differ_by_consent(length: dict[str, Any]) -> None:
    assert changed(length) != []
    assert changed(length, extend=True) == []
