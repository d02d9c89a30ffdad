"""Workers, as they announce themselves, and the slots of their hosts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from sqlalchemy import Select, delete, select, update
from sqlalchemy.orm import Session

from control.db.models import Slot, Worker
from control.db.session import database_time
from control.errors import NotFound
from control.records.paging import Listing, Page, paginate

ALIVE_SECONDS = 60.0
"""A worker not heard of for this long is taken for dead."""

Purpose = Literal["train", "light", "serve"]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerIdentity:
    """Names one worker process in every claim; from `register`."""

    id: str
    host: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NewSlot:
    """One thing runs can be given on a host."""

    uuid: str
    """`GPU-...`, `cpu:0`, `light:0`."""
    purpose: Purpose
    is_gpu: bool = False
    name: str = ""
    memory: int | None = None
    """Bytes."""
    set_aside: str | None = None
    """Why it is given to nobody for now; said of one that no run of ours has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewWorker:
    """How a worker process announces itself."""

    host: str
    """`Settings.host_name`"""
    pid: int
    software: str
    """Its version of detco."""
    roots: tuple[str, ...]
    """Folders it can read, symlinks followed (`Settings.resolved_dataset_roots`)."""
    slots: tuple[NewSlot, ...]


def register(session: Session, new: NewWorker) -> WorkerIdentity:
    """Announce a worker and the slots of its host; slots that are gone and free are forgotten.

    A slot that a server process has leased stays its own.
    """
    worker = Worker(
        host=new.host,
        pid=new.pid,
        software=new.software,
        roots=list(new.roots),
        seen_at=database_time(session),
        created_by=f"worker:{new.host}",
    )
    session.add(worker)
    _replace_slots(session, new.host, new.slots)
    session.flush()
    return WorkerIdentity(id=worker.id, host=worker.host)


def heartbeat(session: Session, worker_id: str) -> str | None:
    """Say that the worker lives; returns its state (`draining`: claim nothing new), or None when it must register."""
    query = update(Worker).where(Worker.id == worker_id, Worker.state != "gone").values(seen_at=database_time(session))
    return session.scalar(query.returning(Worker.state))


def offer_slots(session: Session, host: str, slots: Sequence[NewSlot]) -> None:
    """Say anew what a host has to give; slots that are gone and free are forgotten, those that runs hold stay."""
    _replace_slots(session, host, slots)


def note_look(session: Session, worker_id: str) -> None:
    """Say that the worker has looked at the queue."""
    session.execute(update(Worker).where(Worker.id == worker_id).values(looked_at=database_time(session)))


def get_worker(session: Session, worker_id: str) -> Worker:
    """The worker; raises `NotFound`."""
    worker = session.get(Worker, worker_id)
    if worker is None:
        raise NotFound("worker", worker_id)
    return worker


def retire(session: Session, worker_id: str) -> None:
    """Say that the worker has ended."""
    session.execute(update(Worker).where(Worker.id == worker_id).values(state="gone"))


def list_workers(session: Session) -> list[Worker]:
    """Every worker heard of lately, newest first."""
    return list(session.scalars(_alive(session).order_by(Worker.id.desc())))


def page_workers(session: Session, page: Page, *, alive_only: bool = True) -> Listing[Worker]:
    """A page of workers, newest first; by default of those heard of lately."""
    return paginate(session, _alive(session) if alive_only else select(Worker), Worker.id, page)


def list_slots(session: Session, host: str | None = None) -> list[Slot]:
    """Slots by host and UUID."""
    query = select(Slot).order_by(Slot.host, Slot.uuid)
    return list(session.scalars(query if host is None else query.where(Slot.host == host)))


def _alive(session: Session) -> Select[Worker]:
    since = database_time(session) - timedelta(seconds=ALIVE_SECONDS)
    return select(Worker).where(Worker.state != "gone", Worker.seen_at > since)


def _replace_slots(session: Session, host: str, new: Sequence[NewSlot]) -> None:
    own = select(Slot).where(Slot.host == host).order_by(Slot.uuid)  # the order in which everybody locks them
    known = {slot.uuid: slot for slot in session.scalars(own.with_for_update())}
    for wanted in new:
        slot = known.get(wanted.uuid) or _new_slot(session, host, wanted)
        slot.name, slot.memory, slot.is_gpu = wanted.name, wanted.memory, wanted.is_gpu
        slot.purpose = wanted.purpose if slot.holder is None else "serve"
        slot.set_aside = wanted.set_aside if slot.run_id is None and slot.holder is None else None
    gone = known.keys() - {wanted.uuid for wanted in new}
    forgettable = Slot.uuid.in_(gone) & Slot.run_id.is_(None) & Slot.holder.is_(None)
    session.execute(delete(Slot).where(Slot.host == host, forgettable))


def _new_slot(session: Session, host: str, new: NewSlot) -> Slot:
    slot = Slot(host=host, uuid=new.uuid, purpose=new.purpose, is_gpu=new.is_gpu, name=new.name, memory=new.memory)
    session.add(slot)
    return slot
