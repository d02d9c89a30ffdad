"""Sizes a model is made ready for."""

import pytest

from detco_core.contract.manifest import InputSpec
from detco_core.inference.sessions.sizes import default_sizes, padded


@pytest.mark.parametrize(
    ("spec", "sizes"),
    [
        (InputSpec(), []),
        (InputSpec(short_side=224, max_side=224), [(168, 224), (149, 224), (224, 168), (224, 149)]),
        (InputSpec(short_side=800, max_side=1333), [(800, 1067), (800, 1200), (1067, 800), (1200, 800)]),
    ],
)
def test_the_usual_sizes_are_those_of_photos(spec: InputSpec, sizes: list[tuple[int, int]]) -> None:
    assert default_sizes(spec) == sizes


def test_they_are_padded_as_the_manifest_says() -> None:
    assert padded((5, 7), InputSpec()) == (5, 7)
    assert padded((33, 64), InputSpec(multiple=32)) == (64, 64)
