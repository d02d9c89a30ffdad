"""What happened to a run and what it left: events, attempts, checkpoints, artifacts."""

from collections.abc import Sequence

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from control.db.models import Artifact, Attempt, Checkpoint, Run, RunEvent
from control.errors import NotFound, NotReady
from control.records.paging import Listing, Page, paginate
from detco_core.contract.evaluations import better
from detco_core.contract.extractions.files import FOLDER, PART_SUFFIX

NEWEST = (Checkpoint.step.desc(), Checkpoint.fence.desc())
"""Order of the checkpoints of one run, the one to continue from first."""


def list_events(
    session: Session, run_id: str, after: int = 0, limit: int = 500, types: tuple[str, ...] = ()
) -> list[RunEvent]:
    """Events with an id above `after`, oldest first; `types` leaves out all others."""
    query = select(RunEvent).where(RunEvent.run_id == run_id, RunEvent.id > after)
    if types:
        query = query.where(RunEvent.type.in_(types))
    return list(session.scalars(query.order_by(RunEvent.id).limit(limit)))


def newest_warnings(session: Session, run_id: str, limit: int = 100) -> list[RunEvent]:
    """The newest `warning` events, newest first."""
    query = select(RunEvent).where(RunEvent.run_id == run_id, RunEvent.type == "warning")
    return list(session.scalars(query.order_by(RunEvent.id.desc()).limit(limit)))


def newest_warnings_of(session: Session, run_ids: Sequence[str], limit: int = 100) -> dict[str, list[RunEvent]]:
    """By run, what `newest_warnings` gives; of all these runs with one query."""
    place = func.row_number().over(partition_by=RunEvent.run_id, order_by=RunEvent.id.desc())
    warned = select(RunEvent.id, place.label("place")).where(RunEvent.run_id.in_(run_ids), RunEvent.type == "warning")
    numbered = warned.subquery()
    newest = select(numbered.c.id).where(numbered.c.place <= limit)
    found: dict[str, list[RunEvent]] = {run_id: [] for run_id in run_ids}
    for event in session.scalars(select(RunEvent).where(RunEvent.id.in_(newest)).order_by(RunEvent.id.desc())):
        found[event.run_id].append(event)
    return found


def list_attempts(session: Session, run_id: str) -> list[Attempt]:
    """All attempts, first to last."""
    return list(session.scalars(select(Attempt).where(Attempt.run_id == run_id).order_by(Attempt.number)))


def page_attempts(session: Session, run_id: str, page: Page) -> Listing[Attempt]:
    """A page of them, first to last."""
    return paginate(session, select(Attempt).where(Attempt.run_id == run_id), Attempt.number, page, ascending=True)


def get_attempt(session: Session, run_id: str, fence: int) -> Attempt:
    """The attempt that was claimed with this fence."""
    attempt = session.scalar(select(Attempt).where(Attempt.run_id == run_id, Attempt.fence == fence))
    if attempt is None:
        raise NotFound("attempt", f"{run_id}/{fence}")
    return attempt


def list_checkpoints(
    session: Session, run_id: str, page: Page | None = None, *, deleted: bool = False
) -> Listing[Checkpoint]:
    """Checkpoints in the store, newest first; those that are `deleted` on request."""
    query = select(Checkpoint).where(Checkpoint.run_id == run_id) if deleted else _stored(run_id)
    return paginate(session, query, Checkpoint.id, page or Page())


def newest_checkpoint(session: Session, run_id: str) -> Checkpoint | None:
    """The checkpoint the next attempt continues from."""
    return session.scalars(_stored(run_id).order_by(*NEWEST).limit(1)).first()


def with_checkpoints(session: Session, run_ids: Sequence[str]) -> set[str]:
    """Those of these runs that have a checkpoint in the store."""
    stored = (Checkpoint.run_id.in_(run_ids), Checkpoint.state == "stored")
    return set(session.scalars(select(Checkpoint.run_id).where(*stored).distinct()))


def best_checkpoint(session: Session, run: Run) -> Checkpoint | None:
    """The checkpoint that the run's monitor gave the best score so far, of equal ones the latest; None: none yet."""
    monitor = run.spec.get("monitor")
    if not monitor:
        return None
    lower = better(monitor["task"], monitor["metric"]) == "lower"
    order = Checkpoint.score.asc() if lower else Checkpoint.score.desc()
    scored = _stored(run.id).where(Checkpoint.score.is_not(None))
    return session.scalars(scored.order_by(order, *NEWEST).limit(1)).first()


def get_checkpoint(session: Session, run_id: str, which: str) -> Checkpoint:
    """The checkpoint `last`, `best`, or the one of that id.

    Raises:
        NotFound: the run has no checkpoint of that id, or it is deleted.
        NotReady: there is none yet, or no monitor that could tell the best.
    """
    if which == "best":
        run = session.get(Run, run_id)
        best = None if run is None else best_checkpoint(session, run)
        if best is None:
            raise NotReady(_why_no_best(run))
        return best
    if which == "last":
        newest = newest_checkpoint(session, run_id)
        if newest is None:
            raise NotReady(f"run {run_id} has not saved a checkpoint yet: wait for its first, or for its end")
        return newest
    found = session.get(Checkpoint, which)
    if found is None or found.run_id != run_id or found.state != "stored":
        raise NotFound("checkpoint", which)
    return found


def usable_checkpoint(session: Session, run_id: str, which: str) -> Checkpoint:
    """As `get_checkpoint`, held so that it cannot be deleted before the row that is to need it is there."""
    found = get_checkpoint(session, run_id, which)
    held = session.get(Checkpoint, found.id, with_for_update={"read": True}, populate_existing=True)
    if held is None or held.state != "stored":
        raise NotFound("checkpoint", which)
    return held


def get_artifact(session: Session, run_id: str, name: str) -> Artifact:
    """The file of that name; raises `NotFound`."""
    found = session.scalar(select(Artifact).where(Artifact.run_id == run_id, Artifact.name == name))
    if found is None:
        raise NotFound("artifact", f"{run_id}/{name}")
    return found


def list_artifacts(session: Session, run_id: str) -> list[Artifact]:
    """All files other than checkpoints, by name."""
    return list(session.scalars(select(Artifact).where(Artifact.run_id == run_id).order_by(Artifact.name)))


def page_artifacts(session: Session, run_id: str, page: Page) -> Listing[Artifact]:
    """A page of them, by name."""
    return paginate(session, select(Artifact).where(Artifact.run_id == run_id), Artifact.name, page, ascending=True)


def index_parts(session: Session, run_id: str) -> list[Artifact]:
    """The index parts of an extraction: each says that its shard is in the store."""
    query = select(Artifact).where(Artifact.run_id == run_id, Artifact.name.startswith(f"{FOLDER}/", autoescape=True))
    return [found for found in session.scalars(query.order_by(Artifact.name)) if found.name.endswith(PART_SUFFIX)]


def _stored(run_id: str) -> Select[Checkpoint]:
    return select(Checkpoint).where(Checkpoint.run_id == run_id, Checkpoint.state == "stored")


def _why_no_best(run: Run | None) -> str:
    if run is None or not run.spec.get("monitor"):
        return "there is no best checkpoint without a monitor: set monitor.task and monitor.dataset, or name one by id"
    return "no evaluation of the run's monitor has finished yet: use last, or name a checkpoint by id"
