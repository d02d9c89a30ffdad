"""Foreign weights: found by id or name."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.models import Weights
from control.errors import NotFound


def get_weights(session: Session, id_or_name: str) -> Weights:
    """The weights of that id, or the newest of that name; raises `NotFound`."""
    named = select(Weights).where(Weights.name == id_or_name).order_by(Weights.id.desc()).limit(1)
    weights = session.get(Weights, id_or_name) or session.scalars(named).first()
    if weights is None:
        raise NotFound("weights", id_or_name)
    return weights
