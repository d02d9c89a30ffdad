"""What is asked of a network: good selections, and those that are refused."""

from pathlib import Path

import pytest

from detco_core.contract.errors import BundleError
from detco_core.contract.manifest import InputSpec, Level, Manifest, read_manifest
from detco_core.contract.reader import FieldError
from detco_core.inference.selection import Selection


@pytest.fixture(scope="module")
def manifest(bundle: Path) -> Manifest:
    return read_manifest(bundle)


def test_the_default_level_is_res5_or_the_last(manifest: Manifest) -> None:
    assert [level.name for level in Selection().levels_of(manifest)] == ["res5"]
    pyramid = Manifest(
        architecture="x",
        weights_digest="sha256:0",
        levels=tuple(Level(name=name, channels=1, stride=4) for name in ("p2", "p3")),
        pooled=1,
        input=InputSpec(),
        files=manifest.files,
        parity={},
    )
    assert [level.name for level in Selection().levels_of(pyramid)] == ["p3"]


def test_an_unknown_level_names_those_there_are(manifest: Manifest) -> None:
    with pytest.raises(BundleError, match="res2, res3, res4, res5"):
        Selection(levels=("res9",)).levels_of(manifest)


@pytest.mark.parametrize("levels", [(), ("res2", "res2")])
def test_bad_selections_are_refused(levels: tuple[str, ...]) -> None:
    with pytest.raises(FieldError):
        Selection(levels=levels)


@pytest.mark.parametrize("power", [0.5, 101, float("nan")])
def test_a_power_out_of_bounds_is_refused(power: float) -> None:
    with pytest.raises(FieldError, match=r"1\.\.100"):
        Selection(pool="gem", gem_p=power)


def test_levels_of_unequal_channels_are_not_assigned_to(manifest: Manifest) -> None:
    with pytest.raises(BundleError, match="res4 has 8, res5 has 10"):
        Selection(levels=("res4", "res5"), roi_levels="assign").levels_of(manifest)
