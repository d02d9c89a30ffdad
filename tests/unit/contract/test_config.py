"""The run config: it survives JSON, refuses what is wrong, and both readers agree on what that is."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from detco_core.contract.config import RunConfig, override, read_config
from detco_core.contract.errors import InvalidDocument
from detco_core.contract.presets import PRESETS, preset
from detco_core.contract.reader import canonical_json, digest, plain

PYDANTIC = TypeAdapter(RunConfig)

CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "seed": st.integers(0, 2**63 - 1),
    "train.steps": st.integers(1, 10**6),
    "train.log_every": st.integers(1, 100),
    "data.workers": st.integers(0, 128),
    "views.global_size": st.integers(32, 512),
    "views.global_scale": st.tuples(st.floats(0.01, 0.5), st.floats(0.5, 1.0)),
    "views.jitter": st.tuples(*[st.floats(0, 2)] * 3, st.floats(0, 0.5)),
    "method.temperature": st.floats(1e-3, 10),
    "method.stage_weights": st.tuples(*[st.floats(0, 2)] * 3, st.floats(0.1, 2)),
    "method.term_weights.l2g": st.floats(0, 2),
    "optim.lr": st.floats(1e-6, 100),
    "device.precision": st.sampled_from(["fp32", "bf16", "fp16"]),
    "device.threads": st.none() | st.integers(1, 64),
}
configs = st.builds(
    override,
    st.sampled_from(sorted(PRESETS)).map(preset),
    st.fixed_dictionaries({}, optional=CHANGES),
)

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"foo": 1}, "foo"),
    ({"train": {"batchsize": 16}}, "train.batchsize"),
    ({"train": {"batch_size": "16"}}, "train.batch_size"),
    ({"train": {"batch_size": True}}, "train.batch_size"),
    ({"train": {"batch_size": 16.0}}, "train.batch_size"),
    ({"train": {"batch_size": 0}}, "train.batch_size"),
    ({"train": {"epochs": None}}, "train.epochs"),
    ({"train": {"steps": 5, "epochs": 5}}, "train.epochs"),
    ({"train": None}, "train"),
    ({"train": []}, "train"),
    ({"seed": -1}, "seed"),
    ({"seed": 2**63}, "seed"),
    ({"seed": None}, "seed"),
    ({"preset": 5}, "preset"),
    ({"data": {"workers": 129}}, "data.workers"),
    ({"views": {"global_scale": [0.2]}}, "views.global_scale"),
    ({"views": {"global_scale": [0.2, "1"]}}, "views.global_scale[1]"),
    ({"views": {"global_scale": [0.9, 0.2]}}, "views.global_scale"),
    ({"views": {"global_scale": [0.2, 1.1]}}, "views.global_scale"),
    ({"views": {"local_size": 256}}, "views.local_size"),
    ({"views": {"patch_size": 86}}, "views.patch_size"),
    ({"views": {"blur_sigma": [0.1, 75.0]}}, "views.blur_sigma"),
    ({"views": {"patch_colors": "patch", "patch_size": 16, "blur_sigma": [0.1, 5.1]}}, "views.blur_sigma"),
    ({"views": {"flip": 1.5}}, "views.flip"),
    ({"views": {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0, 0.2]}}, "views.std"),
    ({"views": {"jitter": [0.4, 0.4, 0.4, 0.6]}}, "views.jitter"),
    ({"method": {"queue_size": 100}}, "method.queue_size"),
    ({"method": {"local_head": "broad"}}, "method.local_head"),
    ({"method": {"temperature": 0}}, "method.temperature"),
    ({"method": {"momentum": 1.1}}, "method.momentum"),
    ({"method": {"stage_weights": [0, 0, 0, 0]}}, "method.stage_weights"),
    ({"method": {"term_weights": {"g2g": -1}}}, "method.term_weights.g2g"),
    ({"optim": {"lr": 0}}, "optim.lr"),
    ({"device": {"precision": "int8"}}, "device.precision"),
    ({"monitor": {"task": "knn"}}, "monitor.dataset"),
]


def by_pydantic(body: object) -> RunConfig:
    """As the service reads a body: parsed JSON as it came, nothing coerced, nothing unknown dropped."""
    return PYDANTIC.validate_json(json.dumps(body), strict=True, extra="forbid")


@pytest.mark.parametrize(("body", "path"), WRONG, ids=[json.dumps(body) for body, _ in WRONG])
def test_both_readers_refuse_the_same_bodies(body: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        read_config(body)
    assert [fault.path for fault in caught.value.faults] == [path]
    with pytest.raises(ValidationError):
        by_pydantic(body)


@pytest.mark.parametrize("body", [[], None, "smoke", 5])
def test_both_readers_refuse_what_is_no_object(body: object) -> None:
    with pytest.raises(InvalidDocument):
        read_config(body)
    with pytest.raises(ValidationError):
        by_pydantic(body)


@pytest.mark.parametrize("name", PRESETS)
def test_both_readers_read_a_preset_the_same(name: str) -> None:
    body = plain(preset(name))
    assert by_pydantic(body) == read_config(body) == preset(name)


def test_pydantic_would_drop_unknown_keys_unless_told() -> None:
    """Why the service must say `extra="forbid"`; if this fails, pydantic has changed and the words can go."""
    assert PYDANTIC.validate_python({"foo": 1}) == RunConfig()
    with pytest.raises(ValidationError, match="foo"):
        PYDANTIC.validate_python({"foo": 1}, extra="forbid")


def leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = [leaf for key, value in tree.items() if isinstance(value, Mapping) for leaf in leaves(value, (*path, key))]
    return inner + [(*path, key) for key in tree]


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(place=st.sampled_from(leaves(plain(RunConfig()))), value=anything)
def test_both_readers_agree_on_anything_anywhere(place: tuple[str, ...], value: object) -> None:
    body = plain(RunConfig())
    node = body
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    try:
        ours: RunConfig | None = read_config(body)
    except InvalidDocument:
        ours = None
    try:
        theirs: RunConfig | None = by_pydantic(body)
    except ValidationError:
        theirs = None
    assert ours == theirs


@given(configs)
def test_a_config_survives_json_in_both_readers(config: RunConfig) -> None:
    text = canonical_json(config)
    assert read_config(json.loads(text)) == config
    assert by_pydantic(plain(config)) == config
    assert digest(read_config(json.loads(text))) == digest(config)


def test_overrides_change_what_they_name_and_nothing_else() -> None:
    config = override(preset("smoke"), {"train.steps": 60, "method.term_weights.l2g": 0, "views.jitter": [0, 0, 0, 0]})
    before, after = plain(preset("smoke")), plain(config)
    before["train"]["steps"] = 60
    before["method"]["term_weights"]["l2g"] = 0.0
    before["views"]["jitter"] = [0.0, 0.0, 0.0, 0.0]
    assert after == before


def test_setting_steps_clears_epochs_and_the_other_way_round() -> None:
    steps = override(preset("detco_r50"), {"train.steps": 60})
    assert (steps.train.steps, steps.train.epochs) == (60, None)
    epochs = override(preset("smoke"), {"train.epochs": 3})
    assert (epochs.train.steps, epochs.train.epochs) == (None, 3)
    said_twice = override(preset("smoke"), {"train.epochs": 3, "train.steps": None})
    assert said_twice == epochs
    with pytest.raises(InvalidDocument, match=r"train\.epochs: set exactly one"):
        override(preset("smoke"), {"train.epochs": 3, "train.steps": 3})
    with pytest.raises(InvalidDocument, match=r"train\.epochs: set exactly one"):
        override(preset("smoke"), {"train.steps": None})


@pytest.mark.parametrize("key", ["step", "train.step", "train.steps.more", "nothing.at.all", "", "."])
def test_an_unknown_override_is_named(key: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        override(preset("smoke"), {key: 1, "train.steps": 5})
    assert [fault.path for fault in caught.value.faults] == [key]
    assert "known here: " in caught.value.faults[0].message


def test_overrides_are_validated_together() -> None:
    config = override(preset("smoke"), {"train.batch_size": 24, "method.queue_size": 48})
    assert (config.train.batch_size, config.method.queue_size) == (24, 48)
    with pytest.raises(InvalidDocument, match=r"method\.queue_size: must be a multiple of train\.batch_size \(24\)"):
        override(preset("smoke"), {"train.batch_size": 24})


def test_overriding_leaves_the_base_alone() -> None:
    base = preset("smoke")
    override(base, {"seed": 5})
    assert base == preset("smoke")
