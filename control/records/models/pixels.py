"""The images that an exported model takes: their channels, how pixels are prepared, and how images are sized."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from control.db.models import Run, Weights
from control.errors import InvalidRequest
from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.contract.manifest import InputSpec, Sizing
from detco_core.contract.reader import read

T = TypeVar("T")

RGB = 3
_COLORS = {1: "gray", RGB: "rgb"}


def channels_of(session: Session, weights: Weights) -> int:
    """Of the images they take, as their import was told."""
    imported = None if weights.run_id is None else session.get(Run, weights.run_id)
    return RGB if imported is None else int(imported.spec.get("channels", RGB))


def input_of(session: Session, weights: Weights, given: Mapping[str, Any] | None) -> InputSpec | None:
    """How a model made from the weights prepares its images; None: 8-bit RGB with ImageNet's mean and deviation.

    Args:
        session: of the table.
        weights: imported, or being so.
        given: fields of an `InputSpec`; channels and colour may be left out.

    Raises:
        InvalidRequest: a field is wrong; it is for other channels than the weights; or nothing is given and the weights
            are not for RGB.
    """
    channels = channels_of(session, weights)
    if given is None:
        if channels == RGB:
            return None
        raise InvalidRequest("input", _not_said(weights.name or weights.id, channels))
    known = {"channels": channels, "color": _COLORS.get(channels, "raw")}
    found = _read(InputSpec, known | dict(given))
    if found.channels != channels:
        raise InvalidRequest("input.channels", f"is {found.channels}, and the weights were imported for {channels}")
    return found


def sizing_of(given: Mapping[str, Any] | None) -> Sizing | None:
    """How a model made from a run sizes its images; the rest of an `InputSpec` its checkpoint knows.

    Raises:
        InvalidRequest: a field is wrong, or is one that the checkpoint knows.
    """
    if given is None:
        return None
    sizes = [field.name for field in fields(Sizing)]
    known = [field.name for field in fields(InputSpec) if field.name in given and field.name not in sizes]
    if known:
        message = f"is known of a run's checkpoint, as its views were: leave it out; there are {', '.join(sizes)}"
        raise InvalidRequest(f"input.{known[0]}", message)
    return _read(Sizing, given)


def _read(cls: type[T], given: Mapping[str, Any]) -> T:
    try:
        return read(cls, given, "input")
    except InvalidDocument as error:
        first, *more = (Fault(f"input.{fault.path}", fault.message) for fault in error.faults)
        raise InvalidRequest(first.path, first.message, *more) from error


def _not_said(weights: str, channels: int) -> str:
    counted = f"{channels} channel{'s' if channels > 1 else ''}"
    example = f'{{"mean": [...], "std": [...]}}, of 0..1 and {channels} each'
    return (
        f"{weights} takes images of {counted}, and no weights file says how they were normalised: give {example}; and "
        "bit_depth 16 where they have it"
    )
