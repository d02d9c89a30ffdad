"""Reading plain data into dataclasses: every fault with its path, and nothing let through that is not what it says."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.contract.reader import canonical_json, digest, plain, read, require


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    size: float = 20.0
    spokes: int = 32

    def __post_init__(self) -> None:
        require(self.size > 0, "size", "must be positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bike:
    name: str
    front: Wheel = field(default_factory=Wheel)
    wheels: tuple[Wheel, ...] = ()
    gears: tuple[int, int] = (3, 7)
    kind: Literal["road", "city"] = "city"
    owner: str | None = None
    extra: Wheel | None = None
    parts: dict[str, int] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    electric: bool = False


def faults(body: object) -> dict[str, str]:
    with pytest.raises(InvalidDocument) as caught:
        read(Bike, body)
    return {fault.path: fault.message for fault in caught.value.faults}


def test_defaults_fill_what_is_absent_and_lists_become_tuples() -> None:
    bike = read(Bike, {"name": "b", "wheels": [{}, {"spokes": 3}], "gears": [1, 2], "extra": {"size": 5}})
    assert bike == Bike(name="b", wheels=(Wheel(), Wheel(spokes=3)), gears=(1, 2), extra=Wheel(size=5.0))
    assert isinstance(bike.wheels, tuple)
    assert isinstance(bike.extra, Wheel)
    assert type(bike.extra.size) is float


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"colour": 1}, "colour", "unknown key; known here: name, front, "),
        ({"front": {"rim": 1}}, "front.rim", "unknown key; known here: size, spokes"),
        ({"name": 3}, "name", "expected str, got int '3'"),
        ({"name": None}, "name", "expected str, got null"),
        ({"front": []}, "front", "expected an object, got list '[]'"),
        ({"front": {"spokes": "32"}}, "front.spokes", "expected int, got str '32'"),
        ({"front": {"spokes": True}}, "front.spokes", "expected int, got bool"),
        ({"front": {"spokes": 3.0}}, "front.spokes", "expected int, got float"),
        ({"front": {"size": False}}, "front.size", "expected float, got bool"),
        ({"front": {"size": -1}}, "front.size", "must be positive"),
        ({"front": {"size": float("nan")}}, "front.size", "expected a finite number"),
        ({"front": {"size": float("inf")}}, "front.size", "expected a finite number"),
        ({"front": {"size": 10**400}}, "front.size", "expected a finite number"),
        ({"wheels": {}}, "wheels", "expected a list, got dict"),
        ({"wheels": [{}, {"size": "x"}]}, "wheels[1].size", "expected float"),
        ({"gears": [1]}, "gears", "expected 2 items, got 1"),
        ({"gears": [1, None]}, "gears[1]", "expected int, got null"),
        ({"kind": "cargo"}, "kind", "'cargo' is not one of 'road', 'city'"),
        ({"kind": 1}, "kind", "1 is not one of"),
        ({"owner": 1}, "owner", "expected str, got int"),
        ({"extra": {"size": 0}}, "extra.size", "must be positive"),
        ({"parts": {"bell": "one"}}, "parts.bell", "expected int"),
        ({"parts": []}, "parts", "expected an object"),
        ({"notes": "none"}, "notes", "expected an object"),
        ({"electric": 0}, "electric", "expected bool, got int"),
    ],
)
def test_one_fault_is_named_by_its_path(change: dict[str, Any], path: str, message: str) -> None:
    found = faults({"name": "b"} | change)
    assert list(found) == [path]
    assert message in found[path]


def test_all_faults_are_found_at_once() -> None:
    body = {"front": {"size": "x", "rim": 1}, "gears": [1, "2"], "kind": "cargo", "colour": "red"}
    assert set(faults(body)) == {"name", "front.size", "front.rim", "gears[1]", "kind", "colour"}


@pytest.mark.parametrize("body", [None, [], "text", 3, 2.5, True])
def test_what_is_no_object_is_refused(body: object) -> None:
    assert list(faults(body)) == [""]


def test_the_message_names_the_document() -> None:
    with pytest.raises(InvalidDocument, match=r"bike\.json is not valid: name: missing"):
        read(Bike, {}, "bike.json")
    assert str(Fault("", "broken")) == "broken"


def attempt(body: object) -> tuple[Bike | None, tuple[Fault, ...]]:
    try:
        return read(Bike, body), ()
    except InvalidDocument as error:
        return None, error.faults


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_whatever_the_value_reading_gives_a_bike_or_faults(value: object) -> None:
    """No input raises anything else, and nothing that is read fails to be written."""
    for key in ("name", "front", "wheels", "gears", "kind", "owner", "parts", "electric"):
        bike, found = attempt({"name": "b", key: value})
        assert all(fault.path.startswith(key) for fault in found)
        assert bike is None or read(Bike, json.loads(canonical_json(bike))) == bike


def test_plain_is_ready_for_json() -> None:
    bike = Bike(name="b", wheels=(Wheel(),), notes={"a": (1, 2)})
    assert json.loads(json.dumps(plain(bike))) == plain(bike)
    assert plain(bike)["wheels"] == [{"size": 20.0, "spokes": 32}]


def test_a_digest_depends_on_content_alone() -> None:
    assert digest({"a": 1, "b": (1, 2)}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_canonical_json_refuses_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"loss": float("nan")})
