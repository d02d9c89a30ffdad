"""What every feature server follows, asked once a second: which version each alias names, and which are pinned."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.models import Alias, ModelVersion, Pin

READY = "ready"
_COLUMNS = (ModelVersion.id, ModelVersion.model, ModelVersion.number, ModelVersion.weights_digest)


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """A version whose bundle exists, as little of it as a server needs to notice a change."""

    id: str
    model: str
    number: int
    weights_digest: str


@dataclass(frozen=True, slots=True)
class Followed:
    """What is to be loaded and warm everywhere."""

    aliases: dict[str, ServedVersion]
    """By `name@alias`."""
    pinned: frozenset[ServedVersion]


def followed(session: Session) -> Followed:
    """The aliases and pins as they are now."""
    ready = select(*_COLUMNS).where(ModelVersion.state == READY)
    named = ready.add_columns(Alias.name).join(Alias, Alias.model_version_id == ModelVersion.id)
    aliases = {f"{row.model}@{row.name}": _version(row) for row in session.execute(named)}
    pinned = session.execute(ready.join(Pin, Pin.model_version_id == ModelVersion.id))
    return Followed(aliases, frozenset(map(_version, pinned)))


def deleted(session: Session, held: Collection[str]) -> frozenset[str]:
    """Ids of the versions, among those a server holds, that are no longer there to be served."""
    if not held:
        return frozenset()
    there = select(ModelVersion.id).where(ModelVersion.id.in_(held), ModelVersion.state == READY)
    return frozenset(held) - frozenset(session.scalars(there))


def find_served(session: Session, model: str, number: int) -> ServedVersion | None:
    """A version whose bundle exists, or None."""
    where = (ModelVersion.state == READY, ModelVersion.model == model, ModelVersion.number == number)
    row = session.execute(select(*_COLUMNS).where(*where)).one_or_none()
    return None if row is None else _version(row)


def bundle_files(session: Session, version_id: str) -> dict[str, Any]:
    """The files of a version by format and `manifest`, as in `ModelVersion.files`; empty when it is gone."""
    return session.scalar(select(ModelVersion.files).where(ModelVersion.id == version_id)) or {}


def _version(row: Any) -> ServedVersion:
    return ServedVersion(row.id, row.model, row.number, row.weights_digest)
