"""One schema, two readers: what the contract's own reader refuses, pydantic refuses too, and the other way round."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from detco_core.contract.config import RunConfig, read_config
from detco_core.contract.errors import InvalidDocument
from detco_core.contract.evaluations import TASKS, KnnOptions
from detco_core.contract.presets import PRESETS
from detco_core.contract.reader import plain, read

CONFIG = TypeAdapter(RunConfig)


def changed(path: str, value: Any) -> dict[str, Any]:
    """A good config with one value set."""
    tree: dict[str, Any] = plain(PRESETS["smoke"]())
    *parents, leaf = path.split(".")
    node = tree
    for part in parents:
        node = node[part]
    node[leaf] = value
    return tree


BAD: dict[str, Any] = {
    "an unknown key": changed("colour", "red"),
    "an unknown key inside": changed("train.stepz", 3),
    "text for a number": changed("train.steps", "many"),
    "a fraction for an integer": changed("train.batch_size", 1.5),
    "null where there must be something": changed("optim.lr", None),
    "an object for a number": changed("seed", {}),
    "a list for an object": changed("train", []),
    "text for an object": changed("views", "default"),
    "a number for text": changed("method.name", 3),
    "a word that is not one of the choices": changed("device.kind", "tpu"),
    "too few items": changed("method.stage_weights", [1.0, 1.0]),
    "too many items": changed("views.mean", [0.1, 0.2, 0.3, 0.4]),
    "a wrong item": changed("views.std", [0.1, "x", 0.3]),
    "an unknown key deep inside": changed("method.term_weights", {"g2l": 1.0}),
    "both steps and epochs": changed("train.epochs", 3),
    "neither": changed("train.steps", None),
    "out of range": changed("optim.lr", -0.1),
    "out of range by its sum": changed("method.stage_weights", [0.0, 0.0, 0.0, 0.0]),
    "values that do not fit each other": changed("method.queue_size", 100),
    "a patch that fits no cell": changed("views.patch_size", 64),
    "not an object": [],
    "nothing": None,
    "text": "smoke",
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_both_refuse_a_bad_config(body: Any) -> None:
    with pytest.raises(InvalidDocument):
        read_config(body)
    with pytest.raises(ValidationError):
        CONFIG.validate_python(body, extra="forbid")


@pytest.mark.parametrize("name", PRESETS)
def test_both_read_a_good_config_the_same(name: str) -> None:
    body = plain(PRESETS[name]())
    assert CONFIG.validate_python(body, extra="forbid") == read_config(body) == PRESETS[name]()


def test_both_take_an_integer_for_a_float() -> None:
    body = changed("optim.weight_decay", 0)
    assert CONFIG.validate_python(body, extra="forbid") == read_config(body)


@pytest.mark.parametrize("body", [{"k": 0}, {"kk": 1}, {"stage": "res9"}, {"k": "x"}, {"temperature": -1.0}, []])
def test_both_refuse_bad_options(body: Any) -> None:
    assert TASKS["knn"] is KnnOptions
    with pytest.raises(InvalidDocument):
        read(KnnOptions, body)
    with pytest.raises(ValidationError):
        TypeAdapter(KnnOptions).validate_python(body, extra="forbid")
