"""GPUs that a server process leases for its models, in the same table as the slots of runs.

Training is never given a `serve` slot. A lease is short and renewed; when it ends, the GPU is training's again, unless
the host's worker announces it as kept for serving.
"""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from control.db.models import Slot
from control.db.session import database_time
from control.records import outbox
from control.records.scheduling.workers import NewSlot


def lease(session: Session, host: str, gpus: Sequence[NewSlot], holder: str, seconds: float = 30.0) -> list[str]:
    """Take or keep GPUs of a host for the server process `holder`; returns what is in the way, a sentence each.

    One that a run still has is kept from the next; one that another server process has is not taken.
    """
    now = database_time(session)
    rows = session.scalars(select(Slot).where(Slot.host == host).order_by(Slot.uuid).with_for_update())
    slots = {slot.uuid: slot for slot in rows}
    conflicts = []
    for gpu in gpus:
        slot = slots.get(gpu.uuid)
        if slot is None:
            slot = Slot(host=host, uuid=gpu.uuid, is_gpu=True, name=gpu.name, memory=gpu.memory)
            session.add(slot)
        if slot.holder not in (None, holder) and slot.expires_at is not None and slot.expires_at > now:
            conflicts.append(f"GPU {gpu.uuid} of {host} is leased by the server process {slot.holder}")
            continue
        slot.purpose, slot.holder, slot.set_aside = "serve", holder, None
        slot.expires_at = now + timedelta(seconds=seconds)
        if slot.run_id is not None:
            conflicts.append(f"GPU {gpu.uuid} of {host} is held by run {slot.run_id} until that ends or is paused")
    session.flush()
    return conflicts


def release(session: Session, host: str, holder: str) -> None:
    """Give back what `holder` has."""
    _free(session, Slot.host == host, Slot.holder == holder)


def reap(session: Session) -> int:
    """Give back what server processes have that are gone; returns how many slots."""
    return _free(session, Slot.expires_at < database_time(session))


def _free(session: Session, *which: ColumnElement[bool]) -> int:
    freed = update(Slot).where(Slot.holder.is_not(None), *which)
    values = {"purpose": "train", "holder": None, "expires_at": None}
    rows = session.execute(freed.values(values).returning(Slot.uuid)).all()
    if rows:
        outbox.owe(session, "gpu")
    return len(rows)
