"""Methods by name, ours and those of distributions that are really on the path."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from detco_core.contract.config import RunConfig
from detco_core.contract.errors import InvalidDocument
from detco_core.contract.presets import PRESETS
from detco_core.method.catalog import METHODS, make_method

Configs = Callable[..., RunConfig]
Install = Callable[..., None]

MODULE = """
from detco_core.method.detco import DetCo, make_detco

class Louder(DetCo):
    def weight(self, name):
        return 2 * super().weight(name)

def make(config):
    method = make_detco(config)
    method.__class__ = Louder
    return method

def make_nothing(config):
    return None
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """A distribution of one module, with entry points; as pip leaves it in a folder of the path."""

    def add(name: str, points: str, module: str = MODULE) -> None:
        folder = tmp_path / name
        metadata = folder / f"{name}-1.5.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        (metadata / "entry_points.txt").write_text(f"[detco.methods]\n{points}\n")
        (folder / f"{name}.py").write_text(module)
        monkeypatch.syspath_prepend(folder)
        # So that a module of the name from another test is not taken for this one.
        monkeypatch.delitem(sys.modules, name, raising=False)

    return add


def test_every_preset_names_a_method() -> None:
    assert {make().method.name for make in PRESETS.values()} <= set(METHODS)


def test_makes_the_method_named(small_config: Configs) -> None:
    assert make_method(small_config()).stages == ("res2", "res3", "res4", "res5")


def test_an_unknown_name_lists_the_known(small_config: Configs, install: Install) -> None:
    install("others", "louder = others:make")
    with pytest.raises(InvalidDocument, match=r"method\.name: 'simclr' is not one of detco, moco_v2, louder"):
        make_method(small_config(method__name="simclr"))


def test_an_installed_method_is_made(small_config: Configs, install: Install) -> None:
    install("others", "louder = others:make")
    method = make_method(small_config(method__name="louder", method__local_head="pirl"))
    assert type(method).__name__ == "Louder"
    assert method.weight("l2l/res5") == 2
    assert type(make_method(small_config(method__local_head="pirl"))).__name__ == "DetCo"


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("theirs = others:missing", r"'theirs' \(others:missing, installed by others 1\.5\) cannot.*AttributeError"),
        ("theirs = nowhere:make", r"'theirs' \(nowhere:make, installed by others 1\.5\) cannot.*ModuleNotFoundError"),
        ("theirs = others:make_nothing", r"installed by others 1\.5\) made a NoneType, not a DetCo"),
    ],
)
def test_one_that_cannot_be_used_is_named_with_its_owner(
    small_config: Configs, install: Install, points: str, message: str
) -> None:
    install("others", points)
    with pytest.raises(InvalidDocument, match=message):
        make_method(small_config(method__name="theirs"))


def test_a_module_that_breaks_while_loading_is_named(small_config: Configs, install: Install) -> None:
    install("broken", "theirs = broken:make", "1 / 0")
    with pytest.raises(InvalidDocument, match=r"installed by broken 1\.5\) cannot be loaded: ZeroDivisionError"):
        make_method(small_config(method__name="theirs"))


def test_a_name_of_ours_cannot_be_taken(small_config: Configs, install: Install) -> None:
    install("others", "detco = others:make")
    with pytest.raises(InvalidDocument, match=r"'detco' is claimed by detco and by others 1\.5: uninstall"):
        make_method(small_config())


def test_two_that_claim_one_name_are_both_named(small_config: Configs, install: Install) -> None:
    install("others", "theirs = others:make")
    install("more", "theirs = more:make")
    with pytest.raises(InvalidDocument, match=r"claimed by (others|more) 1\.5 and by (others|more) 1\.5"):
        make_method(small_config(method__name="theirs"))
