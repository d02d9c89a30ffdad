from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from benchmarks.miniature.recipe import BACKBONE, PROFILES, Profile, pretraining
from detco_core.contract.reader import plain


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_the_methods_differ_by_the_method_alone(profile: Profile) -> None:
    moco, detco = (dict(leaves(plain(pretraining(profile, m, 3, "cpu")))) for m in ("moco_v2", "detco"))

    assert {key for key in moco if moco[key] != detco[key]} == {
        "preset",
        "method.name",
        "method.stage_weights",
        "method.term_weights.l2l",
        "method.term_weights.l2g",
    }
    assert detco["method.backbone"] == BACKBONE
    assert (detco["seed"], detco["device.kind"], detco["train.epochs"]) == (3, "cpu", profile.epochs)


def test_random_weights_have_no_recipe() -> None:
    with pytest.raises(KeyError):
        pretraining(PROFILES["cpu"], "random", 0, "cpu")
