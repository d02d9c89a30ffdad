"""The probe sends what the model takes, whatever that is."""

import pytest

from detco_core.contract.manifest import InputSpec
from detco_core.inference.pictures.images import decode
from detco_core.inference.pictures.preprocess import prepare
from server.features.probe import picture


@pytest.mark.parametrize(
    "spec",
    [
        InputSpec(),
        InputSpec(multiple=96),
        InputSpec(channels=5, mean=(0.5,) * 5, std=(0.5,) * 5, color="raw"),
        InputSpec(channels=1, mean=(0.5,), std=(0.5,), color="raw", bit_depth=16),
    ],
)
def test_the_picture_is_one_the_model_takes(spec: InputSpec) -> None:
    prepared = prepare(decode(picture(spec)), spec, "none")
    assert prepared.array.shape[1] == spec.channels
    assert prepared.converted_from is None
