"""Which version a request means, from what is known here and from the catalogue, also while it is away."""

import asyncio

import pytest

from server.features.errors import ModelUnavailable, NoDefaultModel, UnknownModel
from server.features.models.bounds import Bounds
from server.features.models.catalog import VersionRef, Wanted
from server.features.models.choosing import Chooser
from server.features.models.follower import Follower
from server.features.models.holdings import Holdings
from server.features.models.selector import read_selector

FIRST, SECOND = VersionRef("v1", "tiny", 1, "sha256:1"), VersionRef("v2", "tiny", 2, "sha256:2")
OTHER = VersionRef("v3", "other", 1, "sha256:3")


class Records:
    """A catalogue of `SECOND`, and the questions it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.trouble: Exception | None = None

    def find(self, model: str, number: int) -> VersionRef | None:
        self.asked.append(f"{model}:{number}")
        if self.trouble is not None:
            raise self.trouble
        return SECOND if (model, number) == ("tiny", 2) else None


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def follower() -> Follower:
    """It has looked once; the test says how that went."""
    follower = Follower(lambda: None, lambda: None, 1000)
    follower._looked.set()
    return follower


@pytest.fixture
def holdings() -> Holdings:
    holdings = Holdings(Bounds(models=4))
    holdings.want(Wanted({"tiny@production": FIRST}))
    return holdings


def chosen(chooser: Chooser, named: str | None) -> VersionRef:
    return asyncio.run(chooser.found(chooser.selected(named)))


def test_what_is_known_here_is_not_asked_for(holdings: Holdings, follower: Follower, records: Records) -> None:
    chooser = Chooser(holdings, follower, records.find, None)
    assert chosen(chooser, None) == chosen(chooser, "tiny") == chosen(chooser, "tiny:1") == FIRST
    assert records.asked == []
    assert chosen(chooser, "tiny:2") == SECOND
    with pytest.raises(UnknownModel, match="version tiny:9 that is ready"):
        chosen(chooser, "tiny:9")
    assert records.asked == ["tiny:2", "tiny:9"]
    with pytest.raises(UnknownModel, match="aliases served here: tiny@production"):
        chosen(chooser, "tiny@nowhere")
    chooser.close()


def test_a_catalogue_that_is_away_is_said_to_be(holdings: Holdings, follower: Follower, records: Records) -> None:
    chooser = Chooser(holdings, follower, records.find, None)
    records.trouble = ConnectionError("gone")
    with pytest.raises(ModelUnavailable, match="cannot be asked: gone"):
        chosen(chooser, "tiny:2")
    follower.down = "known to be gone"
    with pytest.raises(ModelUnavailable, match="known to be gone"):
        chosen(chooser, "tiny:2")
    assert records.asked == ["tiny:2"]
    assert chosen(chooser, "tiny") == FIRST
    chooser.close()


def test_an_unloaded_model_still_counts_among_those_that_could_be_meant(
    holdings: Holdings, follower: Follower, records: Records
) -> None:
    chooser = Chooser(holdings, follower, records.find, None)
    holdings.withhold("tiny", withheld=True)
    holdings.want(Wanted({"tiny@production": FIRST, "other@production": OTHER}))
    with pytest.raises(NoDefaultModel):
        chooser.selected(None)
    assert Chooser(holdings, follower, records.find, "other").selected(None) == read_selector("other")
    with pytest.raises(ModelUnavailable, match="unloaded"):
        chosen(chooser, "tiny:2")
    assert records.asked == []
    chooser.close()


def test_an_error_tells_of_no_models_that_the_caller_may_not_use(
    holdings: Holdings, follower: Follower, records: Records
) -> None:
    holdings.want(Wanted({"tiny@production": FIRST, "other@production": OTHER}))
    chooser = Chooser(holdings, follower, records.find, None)
    for named in ("tiny@nowhere", "tiny:9"):
        with pytest.raises(UnknownModel, match=r"aliases served here: tiny@production$"):
            asyncio.run(chooser.found(chooser.selected(named), ["tiny"]))
    with pytest.raises(NoDefaultModel, match=r"name one of tiny$"):
        chooser.selected(None, ["tiny"])
    with pytest.raises(NoDefaultModel, match=r"name one of other, tiny$"):
        chooser.selected(None)
    chooser.close()


def test_a_model_that_is_loaded_again_is_known_from_that_moment_on(
    holdings: Holdings, follower: Follower, records: Records
) -> None:
    chooser = Chooser(holdings, follower, records.find, None)
    holdings.withhold("tiny", withheld=True)
    with pytest.raises(ModelUnavailable, match="was unloaded"):
        chosen(chooser, "tiny")
    # Before the catalogue has been asked again.
    holdings.withhold("tiny", withheld=False)
    assert chosen(chooser, "tiny") == FIRST
    assert holdings.left_out == {}
    chooser.close()
