"""How the images of imported weights are prepared: said where no file says it, and never guessed."""

from typing import Any

import pytest
from sqlalchemy import Engine

from control.db.models import Weights
from control.db.session import unit_of_work
from control.errors import InvalidRequest
from control.records.models.pixels import channels_of, input_of, sizing_of
from control.records.models.weights import NewWeights, add_weights
from detco_core.contract.manifest import InputSpec, Sizing


def weights_for(session: Any, channels: int, folder: Any) -> Weights:
    file = folder / "net.pth"
    file.write_bytes(b"tensors")
    new = NewWeights(uri=str(file), architecture="resnet18", actor="ada", channels=channels, name="theirs")
    return add_weights(session, new, [str(folder)])


def test_rgb_needs_no_word_and_takes_one(engine: Engine, tmp_path: Any) -> None:
    with unit_of_work(engine) as session:
        weights = weights_for(session, 3, tmp_path)
        assert channels_of(session, weights) == 3
        assert input_of(session, weights, None) is None
        assert input_of(session, weights, {"short_side": 800}) == InputSpec(short_side=800)


@pytest.mark.parametrize(("channels", "color"), [(1, "gray"), (6, "raw")])
def test_channels_and_colour_are_known(engine: Engine, tmp_path: Any, channels: int, color: Any) -> None:
    mean, std = (0.5,) * channels, (0.25,) * channels
    with unit_of_work(engine) as session:
        found = input_of(session, weights_for(session, channels, tmp_path), {"mean": list(mean), "std": list(std)})
    assert found == InputSpec(channels=channels, mean=mean, std=std, color=color)


@pytest.mark.parametrize(
    ("given", "path", "words"),
    [
        (None, "input", "theirs takes images of 6 channels,"),
        ({}, "input.mean", "one value per channel"),
        ({"mean": [0.5], "gamma": 2}, "input.gamma", "unknown key"),
        ({"channels": 3, "color": "rgb"}, "input.channels", "imported for 6"),
        ({"mean": [0.5] * 6, "std": [0.5] * 6, "short_side": 0}, "input.short_side", "must be 1.."),
    ],
)
def test_what_is_not_said_or_wrong_is_named(engine: Engine, tmp_path: Any, given: Any, path: str, words: str) -> None:
    with unit_of_work(engine) as session, pytest.raises(InvalidRequest) as found:
        input_of(session, weights_for(session, 6, tmp_path), given)
    assert found.value.faults[0].path == path
    assert words in str(found.value)


def test_of_a_run_the_sizes_are_free() -> None:
    assert sizing_of(None) is None
    assert sizing_of({"short_side": 800, "max_side": 1333, "multiple": 32}) == Sizing(
        short_side=800, max_side=1333, multiple=32
    )


@pytest.mark.parametrize(
    ("given", "path", "words"),
    [
        ({"short_side": 800, "std": [1, 1, 1]}, "input.std", "known of a run's checkpoint"),
        ({"gamma": 2}, "input.gamma", "unknown key"),
        ({"short_side": "800"}, "input.short_side", "expected int"),
        ({"short_side": 800, "max_side": 600}, "input.max_side", "must be short_side.."),
        ({"max_side": 600}, "input.max_side", "give that too"),
        ({"multiple": 0}, "input.multiple", "must be 1.."),
    ],
)
def test_of_a_run_the_rest_is_known(given: Any, path: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as found:
        sizing_of(given)
    assert found.value.faults[0].path == path
    assert words in str(found.value)
