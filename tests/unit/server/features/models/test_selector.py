"""How a request names a model, and what stands in when it names none."""

import pytest

from server.features.errors import NoDefaultModel, UnknownModel
from server.features.models.selector import Selector, default_selector, read_selector


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("tiny", Selector("tiny", alias="production")),
        ("tiny@canary", Selector("tiny", alias="canary")),
        ("tiny:3", Selector("tiny", number=3)),
    ],
)
def test_the_three_forms(text: str, selector: Selector) -> None:
    assert read_selector(text) == selector


@pytest.mark.parametrize("text", ["tiny:", "tiny:latest", "tiny:-1", "tiny:1:2", "tiny:٣", "tiny:" + "9" * 100])
def test_a_version_is_a_number(text: str) -> None:
    with pytest.raises(UnknownModel):
        read_selector(text)


def test_an_alias_is_a_word() -> None:
    with pytest.raises(UnknownModel, match="tiny@production"):
        read_selector("tiny@")


def test_the_configured_default_comes_first() -> None:
    assert default_selector("other:2", ["tiny@production"]) == Selector("other", number=2)


def test_else_the_only_model_in_production() -> None:
    assert default_selector(None, ["tiny@production", "big@canary"]) == Selector("tiny", alias="production")


@pytest.mark.parametrize("aliases", [[], ["big@canary"], ["a@production", "b@production"]])
def test_else_it_is_asked_for_by_name(aliases: list[str]) -> None:
    with pytest.raises(NoDefaultModel) as caught:
        default_selector(None, aliases)
    for alias in aliases if len(aliases) > 1 else ():
        assert alias.partition("@")[0] in str(caught.value)
