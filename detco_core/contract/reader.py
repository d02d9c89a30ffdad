"""Reads plain data (parsed JSON) into the frozen dataclasses of this package, and writes them back.

Unknown keys and wrong types are refused, every fault at once, each with its dotted path. The server reads the same
dataclasses through pydantic; a test feeds both the same bad bodies.
"""

import dataclasses
import functools
import hashlib
import json
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from detco_core.contract.errors import Fault, InvalidDocument

T = TypeVar("T")


class FieldError(ValueError):
    """Raised by a dataclass's `__post_init__` when the value of one field is out of range."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(f"{field}: {message}")
        self.message = message


def require(condition: bool, field: str, message: str) -> None:
    """Raise `FieldError` unless `condition` holds."""
    if not condition:
        raise FieldError(field, message)


def read(cls: type[T], data: object, what: str | None = None) -> T:
    """Build `cls` from parsed JSON.

    Raises:
        InvalidDocument: with every fault found; `what` names the document in the message.
    """
    faults: list[Fault] = []
    value = _value(cls, data, "", faults)
    if faults:
        raise InvalidDocument(what or cls.__name__, tuple(faults))
    return typing.cast(T, value)


def plain(document: object) -> Any:
    """Turn a dataclass tree into JSON-ready dicts, lists and scalars."""
    if dataclasses.is_dataclass(document) and not isinstance(document, type):
        return {f.name: plain(getattr(document, f.name)) for f in dataclasses.fields(document)}
    if isinstance(document, Mapping):
        return {str(key): plain(value) for key, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [plain(item) for item in document]
    return document


def canonical_json(document: object) -> str:
    """The one JSON text of a document: sorted keys, no spaces; NaN refused."""
    return json.dumps(plain(document), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(document: object) -> str:
    """`sha256:` and the hex digest of the canonical JSON."""
    return "sha256:" + hashlib.sha256(canonical_json(document).encode()).hexdigest()


def _value(hint: Any, data: object, path: str, faults: list[Fault]) -> object:
    origin = typing.get_origin(hint)
    if hint is Any or hint is object:
        return data
    if dataclasses.is_dataclass(hint):
        return _dataclass(typing.cast(type, hint), data, path, faults)
    if origin in (typing.Union, types.UnionType):
        return _union(hint, data, path, faults)
    if origin is typing.Literal:
        return _literal(hint, data, path, faults)
    if origin is tuple:
        return _tuple(hint, data, path, faults)
    if origin in (dict, Mapping) or origin is typing.get_origin(Mapping[str, int]):
        return _mapping(hint, data, path, faults)
    return _scalar(hint, data, path, faults)


def _dataclass(cls: type, data: object, path: str, faults: list[Fault]) -> object:
    if not isinstance(data, Mapping):
        faults.append(Fault(path, f"expected an object, got {_name(data)}"))
        return None
    before = len(faults)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    for key in data:
        if key not in fields:
            faults.append(Fault(_join(path, str(key)), f"unknown key; known here: {', '.join(fields)}"))
    hints = _hints(cls)
    values = {name: _value(hints[name], data[name], _join(path, name), faults) for name in fields if name in data}
    for name, field in fields.items():
        if name not in data and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            faults.append(Fault(_join(path, name), "missing"))
    return _build(cls, values, path, faults) if len(faults) == before else None


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """What every field is; kept, since working it out takes longer than all the rest, and requests are read so too."""
    return typing.get_type_hints(cls)


def _build(cls: type, values: dict[str, object], path: str, faults: list[Fault]) -> object:
    try:
        return cls(**values)
    except FieldError as error:
        faults.append(Fault(_join(path, error.field), error.message))
    except ValueError as error:
        faults.append(Fault(path, str(error)))
    return None


def _union(hint: Any, data: object, path: str, faults: list[Fault]) -> object:
    attempts: list[list[Fault]] = []
    options = typing.get_args(hint)
    for option in options:
        tried: list[Fault] = []
        value = _value(option, data, path, tried)
        if not tried:
            return value
        attempts.append(tried)
    # A None option never explains anything: report the option whose keys these are, else the one that came furthest.
    nearest = max(zip(options, attempts, strict=True), key=lambda pair: (_likeness(pair[0], data), _depth(pair[1])))
    faults.extend(nearest[1])
    return None


def _likeness(option: Any, data: object) -> int:
    """Keys of an object that an option knows, less those that it does not."""
    if not dataclasses.is_dataclass(option) or not isinstance(data, Mapping):
        return 0
    known = {field.name for field in dataclasses.fields(option)}
    return sum(1 if key in known else -1 for key in data)


def _depth(faults: list[Fault]) -> int:
    return max(len(fault.path) for fault in faults)


def _literal(hint: Any, data: object, path: str, faults: list[Fault]) -> object:
    options = typing.get_args(hint)
    if not any(type(data) is type(option) and data == option for option in options):
        faults.append(Fault(path, f"{data!r} is not one of {', '.join(map(repr, options))}"))
    return data


def _tuple(hint: Any, data: object, path: str, faults: list[Fault]) -> object:
    if not isinstance(data, (list, tuple)):
        faults.append(Fault(path, f"expected a list, got {_name(data)}"))
        return ()
    args = typing.get_args(hint)
    if len(args) == 2 and args[1] is Ellipsis:
        args = (args[0],) * len(data)
    if len(args) != len(data):
        faults.append(Fault(path, f"expected {len(args)} items, got {len(data)}"))
        return ()
    return tuple(
        _value(arg, item, f"{path}[{n}]", faults) for n, (arg, item) in enumerate(zip(args, data, strict=True))
    )


def _mapping(hint: Any, data: object, path: str, faults: list[Fault]) -> object:
    if not isinstance(data, Mapping):
        faults.append(Fault(path, f"expected an object, got {_name(data)}"))
        return {}
    _, item = typing.get_args(hint) or (str, Any)
    return {str(key): _value(item, value, _join(path, str(key)), faults) for key, value in data.items()}


def _scalar(hint: Any, data: object, path: str, faults: list[Fault]) -> object:
    if hint is type(None):
        fits = data is None
    elif hint is float:
        fits = isinstance(data, (int, float)) and not isinstance(data, bool)
    elif hint is int:
        fits = isinstance(data, int) and not isinstance(data, bool)
    else:
        fits = isinstance(data, hint)
    if not fits:
        expected = "null" if hint is type(None) else hint.__name__
        faults.append(Fault(path, f"expected {expected}, got {_name(data)}"))
    return _finite(typing.cast(float, data), path, faults) if fits and hint is float else data


def _finite(data: float, path: str, faults: list[Fault]) -> float:
    # Python's JSON parser lets NaN and Infinity through, and integers of any length, which no float holds.
    if not abs(data) <= sys.float_info.max:
        faults.append(Fault(path, f"expected a finite number, got {_name(data)}"))
        return 0.0
    return float(data)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _name(data: object) -> str:
    return "null" if data is None else f"{type(data).__name__} {str(data)[:40]!r}"
