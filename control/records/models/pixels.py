"""The images that imported weights take: how many channels they were imported for, and how pixels are prepared."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from control.db.models import Run, Weights
from control.errors import InvalidRequest
from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.contract.manifest import InputSpec
from detco_core.contract.reader import read

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
    try:
        found = read(InputSpec, known | dict(given), "input")
    except InvalidDocument as error:
        first, *more = (Fault(f"input.{fault.path}", fault.message) for fault in error.faults)
        raise InvalidRequest(first.path, first.message, *more) from error
    if found.channels != channels:
        raise InvalidRequest("input.channels", f"is {found.channels}, and the weights were imported for {channels}")
    return found


def _not_said(weights: str, channels: int) -> str:
    counted = f"{channels} channel{'s' if channels > 1 else ''}"
    example = f'{{"mean": [...], "std": [...]}}, of 0..1 and {channels} each'
    return (
        f"{weights} takes images of {counted}, and no weights file says how they were normalised: give {example}; and "
        "bit_depth 16 where they have it"
    )
