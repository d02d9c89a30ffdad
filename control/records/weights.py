"""Foreign weights: brought in by a job that checks them, then a source of runs, evaluations and model versions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, or_, select
from sqlalchemy.orm import Session

from control.db.models import Artifact, ModelVersion, Run, Weights
from control.errors import InUse, InvalidRequest, NotFound, NotReady
from control.records.names import check_name
from control.records.paging import Listing, Page, paginate
from control.records.roots import resolve_file
from control.records.runs import NOUNS, NewRun, create_run
from control.states import TERMINAL

RANDOM = "random"
"""In place of an id or name: weights nobody trained."""
_PLACES = ("weights_id", ("init", "weights_id"), ("source", "weights_id"))
"""Where the spec of an import or export, of a pretraining run and of an evaluation names weights."""
_MOST_NAMED = 100


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


@dataclass(frozen=True, slots=True)
class Removal:
    """What deleting weights does."""

    derived: tuple[str, ...]
    """What was made from them, and stays."""
    bytes: int
    """Freed."""
    key: str | None
    """Of the file that nothing needs any more, in the artifact store."""


def add_weights(session: Session, new: NewWeights, roots: Sequence[str]) -> Weights:
    """Register a file and submit its import.

    Raises:
        InvalidRequest: name or uri is not as it must be.
        ForbiddenRoot: the file lies outside `roots` (`Settings.resolved_dataset_roots`).
    """
    _check_name(new.name)
    path = resolve_file(new.uri, roots)
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
    spec = {"weights_id": weights.id, "path": str(path), "channels": new.channels, "strict": new.strict}
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


def plan_removal(session: Session, weights: Weights) -> Removal:
    """What `remove` would do.

    Raises:
        InUse: jobs that have not ended need them; names those jobs.
    """
    if holders := [f"{NOUNS[run.kind]} {run.id}" for run in _users(session, weights, ended=False)]:
        raise InUse(f"weights {weights.id}", holders)
    derived = tuple(_derived(session, weights))
    if weights.key is None or _is_shared(session, weights):
        return Removal(derived, 0, None)
    return Removal(derived, weights.file_bytes or 0, weights.key)


def remove(session: Session, weights: Weights) -> Removal:
    """Delete weights; what was made from them stays. The caller deletes the file `key` after the commit.

    Raises:
        InUse: as `plan_removal`.
    """
    session.get(Weights, weights.id, with_for_update=True, populate_existing=True)
    removal = plan_removal(session, weights)
    session.execute(delete(Artifact).where(Artifact.run_id == weights.run_id, Artifact.key == weights.key))
    session.delete(weights)
    session.flush()
    return removal


def _check_name(name: str | None) -> None:
    if name is not None and check_name("name", name) == RANDOM:
        raise InvalidRequest("name", f"{RANDOM!r} stands for weights nobody trained: choose another name")


def _users(session: Session, weights: Weights, *, ended: bool) -> Sequence[Run]:
    state = Run.state.in_(TERMINAL) if ended else Run.state.not_in(TERMINAL)
    return session.scalars(_using(weights.id).where(state).order_by(Run.id).limit(_MOST_NAMED)).all()


def _using(weights_id: str) -> Select[Run]:
    places: list[ColumnElement[bool]] = [Run.spec[place].as_string() == weights_id for place in _PLACES]
    return select(Run).where(or_(*places))


def _derived(session: Session, weights: Weights) -> Iterator[str]:
    for run in _users(session, weights, ended=True):
        if run.kind in ("pretrain", "evaluate"):
            yield f"{NOUNS[run.kind]} {run.id}"
    versions = select(ModelVersion).where(ModelVersion.weights_id == weights.id, ModelVersion.state == "ready")
    for version in session.scalars(versions.order_by(ModelVersion.id).limit(_MOST_NAMED)):
        yield f"model version {version.ref}"


def _is_shared(session: Session, weights: Weights) -> bool:
    """Whether others need the file too, or are about to: an import under way may be storing the same one."""
    others = select(Artifact.id).where(Artifact.key == weights.key, Artifact.run_id != weights.run_id)
    importing = select(Run.id).where(Run.kind == "import", Run.state.not_in(TERMINAL))
    queries: list[Select[Any]] = [others, importing]
    return any(session.scalar(query.limit(1)) is not None for query in queries)
