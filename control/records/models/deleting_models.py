"""Deleting models and their versions: aliases, pins and jobs hold them."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.models import Alias, Model, ModelVersion, Pin
from control.db.session import database_time
from control.records.runs.moves import lock
from control.records.store.removals import Removal, Removed, recorded, remove, require_ended, users

VERSION = "model version"


def delete_version(session: Session, name: str, number: int, actor: str, *, dry_run: bool = False) -> Removed:
    """Delete a version with its files; its number is not given again. Asking again gives the answer again.

    Raises:
        NotFound: there never was one.
        IllegalMove: its export goes on; names what ends it.
        InUse: an alias names it, a consumer pinned it, or jobs that have not ended need it.
    """
    session.get(Model, name, with_for_update=True)
    query = select(ModelVersion).where(ModelVersion.model == name, ModelVersion.number == number)
    version = session.scalars(query.where(ModelVersion.state != "deleted").with_for_update()).one_or_none()
    if version is None:
        return recorded(session, VERSION, f"{name}:{number}")
    return _remove(session, VERSION, version.ref, [version], actor, dry_run=dry_run)


def delete_model(session: Session, name: str, actor: str, *, dry_run: bool = False) -> Removed:
    """Delete a model with all of its versions; raises as `delete_version`."""
    model = session.get(Model, name, with_for_update=True, populate_existing=True)
    if model is None or model.deleted_at is not None:
        return recorded(session, "model", name)
    query = select(ModelVersion).where(ModelVersion.model == name, ModelVersion.state != "deleted")
    versions = session.scalars(query.order_by(ModelVersion.number).with_for_update()).all()
    return _remove(session, "model", name, list(versions), actor, model=model, dry_run=dry_run)


def _remove(
    session: Session,
    kind: str,
    target: str,
    versions: list[ModelVersion],
    actor: str,
    *,
    model: Model | None = None,
    dry_run: bool,
) -> Removed:
    ids = [version.id for version in versions]
    exports = [run for version in versions if (run := lock(session, version.run_id or ""))]
    for run in exports:
        require_ended(run)
    going, derived = users(session, ids)
    plan = Removal(
        kind=kind,
        target=target,
        holders=(*_aliases(session, ids), *_pins(session, versions), *going),
        derived=tuple(derived),
        runs=tuple(exports),
    )

    def let_go() -> None:
        for version in versions:
            version.state, version.files = "deleted", None
        if model is not None:
            model.deleted_at = database_time(session)
        session.flush()

    return remove(session, plan, let_go, actor, dry_run=dry_run)


def _aliases(session: Session, ids: list[str]) -> list[str]:
    query = select(Alias).where(Alias.model_version_id.in_(ids)).order_by(Alias.name)
    return [f"alias {alias.model}@{alias.name}" for alias in session.scalars(query)]


def _pins(session: Session, versions: list[ModelVersion]) -> list[str]:
    refs = {version.id: version.ref for version in versions}
    query = select(Pin).where(Pin.model_version_id.in_(refs)).order_by(Pin.consumer)
    return [f"the pin of {refs[pin.model_version_id]} for {pin.consumer}" for pin in session.scalars(query)]
