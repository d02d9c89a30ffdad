"""What a path of the protocol names."""

import pytest

from server.features.errors import UnknownModel
from server.features.oip.targets import Target, read_target


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("a", None, Target("a", "a", "image")),
        ("a", "7", Target("a", "a", "image", 7)),
        ("a_tensor", "7", Target("a_tensor", "a", "pixels", 7)),
        ("b_tensor", None, Target("b_tensor", "b_tensor", "image")),
        ("b_tensor_tensor", None, Target("b_tensor_tensor", "b_tensor", "pixels")),
    ],
)
def test_a_model_of_that_very_name_comes_first(name: str, version: str | None, expected: Target) -> None:
    assert read_target(name, version, {"a", "b_tensor"}) == expected


@pytest.mark.parametrize("version", ["", "latest", "-1", "١", "1234567890"])
def test_versions_are_numbers(version: str) -> None:
    with pytest.raises(UnknownModel, match="version"):
        read_target("a", version, {"a"})
