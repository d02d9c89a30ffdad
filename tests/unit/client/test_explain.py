import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from detco_client.explain import explain, field_docs
from detco_core.contract.config import MethodConfig, override
from detco_core.contract.errors import InvalidDocument
from detco_core.contract.presets import PRESETS


def leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value


@pytest.mark.parametrize("name", PRESETS)
def test_every_field_of_a_preset_is_there_and_explained(name: str) -> None:
    fields = explain(name)
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in leaves(PRESETS[name]())}
    assert {field.key: field.value for field in fields} == plain
    assert [field.key for field in fields if not field.explanation] == []


def test_a_key_is_what_overrides_take() -> None:
    config = PRESETS["smoke"]()
    for field in explain("smoke"):
        if field.key not in ("train.epochs", "train.steps"):
            assert override(config, {field.key: field.value}) == config


def test_the_words_are_those_beneath_the_field() -> None:
    assert field_docs(MethodConfig)["dim"] == "Width of an embedding."


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(InvalidDocument, match="detco_r50"):
        explain("detco_r51")
