"""Methods by name."""

from collections.abc import Callable

import pytest

from detco_core.contract.config import RunConfig
from detco_core.contract.errors import InvalidDocument
from detco_core.contract.presets import PRESETS
from detco_core.method.catalog import METHODS, make_method


def test_every_preset_names_a_method() -> None:
    assert {make().method.name for make in PRESETS.values()} <= set(METHODS)


def test_makes_the_method_named(small_config: Callable[..., RunConfig]) -> None:
    assert make_method(small_config()).stages == ("res2", "res3", "res4", "res5")


def test_an_unknown_name_lists_the_known(small_config: Callable[..., RunConfig]) -> None:
    with pytest.raises(InvalidDocument, match=r"method\.name.*simclr.*detco, moco_v2"):
        make_method(small_config(method__name="simclr"))
