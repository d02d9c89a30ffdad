"""Foreign weights: brought in by a job that checks them, then a source of runs, evaluations and model versions."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.models import ModelVersion, Weights
from control.errors import InvalidRequest, NotFound, NotReady
from control.records.names import check_name
from control.records.paging import Listing, Page, paginate
from control.records.runs.moves import lock
from control.records.runs.submission import NewRun, create_run
from control.records.store.places import file_place
from control.records.store.removals import Removal, Removed, recorded, remove, users
from control.records.store.uses import MOST_NAMED

RANDOM = "random"
"""In place of an id or name: weights nobody trained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewWeights:
    """What is needed to bring in weights."""

    uri: str
    architecture: str
    """The backbone they must fit: torchvision's name, or `timm/NAME`."""
    actor: str
    name: str | None = None
    format: str | None = None
    """None: recognised by the keys."""
    channels: int = 3
    """Of the images they take."""
    license: str | None = None
    strict: bool = True
    """Refuse a file that lacks keys of the backbone."""


def add_weights(session: Session, new: NewWeights, roots: Sequence[str]) -> Weights:
    """Register a file and submit its import.

    Raises:
        InvalidRequest: name or uri is not as it must be.
        ForbiddenRoot: the file lies outside `roots` (`Settings.resolved_dataset_roots`).
    """
    _check_name(new.name)
    path = file_place(session, new.uri, roots)
    weights = Weights(
        name=new.name,
        uri=new.uri,
        format=new.format,
        architecture=new.architecture,
        license=new.license,
        state="checking",
        created_by=new.actor,
    )
    session.add(weights)
    session.flush()
    spec = {"weights_id": weights.id, "path": path, "channels": new.channels, "strict": new.strict}
    # An import says the same the second time: one attempt that fails by its own fault is enough.
    run = create_run(session, NewRun(kind="import", spec=spec, actor=new.actor, max_attempts=1))
    weights.run_id = run.id
    session.flush()
    return weights


def get_weights(session: Session, id_or_name: str) -> Weights:
    """The weights of that id, or the newest of that name; raises `NotFound`."""
    named = select(Weights).where(Weights.name == id_or_name).order_by(Weights.id.desc()).limit(1)
    weights = session.get(Weights, id_or_name) or session.scalars(named).first()
    if weights is None:
        raise NotFound("weights", id_or_name)
    return weights


def list_weights(session: Session, page: Page | None = None) -> Listing[Weights]:
    """Weights, newest first."""
    return paginate(session, select(Weights), Weights.id, page or Page())


def usable_weights(session: Session, id_or_name: str) -> tuple[Weights, tuple[str, ...]]:
    """Weights that a new job may start from, and the jobs it must wait for: their import, while they are checked.

    They are held in share mode, so that they cannot be deleted before the job that needs them is there.

    Raises:
        NotFound: there are none of that id or name.
        NotReady: their import failed.
    """
    found = get_weights(session, id_or_name)
    weights = session.get(Weights, found.id, with_for_update={"read": True}, populate_existing=True)
    if weights is None:
        raise NotFound("weights", id_or_name)
    if weights.state == "failed":
        raise NotReady(f"weights {weights.id} could not be imported: {weights.reason}")
    return weights, (weights.run_id,) if weights.state == "checking" and weights.run_id else ()


def delete_weights(session: Session, id_or_name: str, actor: str, *, dry_run: bool = False) -> Removed:
    """Delete weights with their file; what was made from them stays. Asking again by id gives the answer again.

    Raises:
        NotFound: there never were any.
        InUse: jobs that have not ended need them; names those jobs.
    """
    try:
        found = get_weights(session, id_or_name)
    except NotFound:
        return recorded(session, "weights", id_or_name)
    weights = session.get(Weights, found.id, with_for_update=True, populate_existing=True)
    if weights is None:
        return recorded(session, "weights", found.id)
    going, derived = users(session, [weights.id])
    importer = lock(session, weights.run_id) if weights.run_id else None
    plan = Removal(
        kind="weights",
        target=weights.id,
        holders=tuple(going),
        derived=(*derived, *_versions(session, weights)),
        runs=(importer,) if importer is not None else (),
        keys=frozenset((weights.key,) if weights.key is not None else ()),
    )
    return remove(session, plan, lambda: _let_go(session, weights), actor, dry_run=dry_run)


def _let_go(session: Session, weights: Weights) -> None:
    session.delete(weights)
    session.flush()


def _versions(session: Session, weights: Weights) -> list[str]:
    query = select(ModelVersion).where(ModelVersion.weights_id == weights.id, ModelVersion.state == "ready")
    return [f"model version {one.ref}" for one in session.scalars(query.order_by(ModelVersion.id).limit(MOST_NAMED))]


def _check_name(name: str | None) -> None:
    if name is not None and check_name("name", name) == RANDOM:
        raise InvalidRequest("name", f"{RANDOM!r} stands for weights nobody trained: choose another name")
