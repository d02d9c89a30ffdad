"""Aliases: movable names of model versions, each move remembered, and references resolved through them."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.models import Alias, AliasMove, Model, ModelVersion
from control.errors import NotFound, NotReady, StaleVersion
from control.records.models.registry import get_model, get_version
from control.records.names import check_name, parse_number
from control.records.paging import Listing, Page, paginate
from control.records.webhooks import notices

PRODUCTION = "production"
"""The alias a bare model name stands for."""


def get_alias(session: Session, model: str, name: str) -> Alias:
    """The alias; raises `NotFound`."""
    get_model(session, model)
    alias = session.get(Alias, (model, name))
    if alias is None:
        raise NotFound("alias", f"{model}@{name}")
    return alias


def list_aliases(session: Session, model: str | None = None) -> list[Alias]:
    """Aliases of one model, or of all: what a server follows."""
    query = select(Alias).order_by(Alias.model, Alias.name)
    return list(session.scalars(query if model is None else query.where(Alias.model == model)))


def page_aliases(session: Session, model: str, page: Page) -> Listing[Alias]:
    """A page of a model's aliases, by name; raises `NotFound`."""
    get_model(session, model)
    return paginate(session, select(Alias).where(Alias.model == model), Alias.name, page, ascending=True)


def set_alias(session: Session, model: str, name: str, number: int, actor: str, expected: int | None = None) -> Alias:
    """Let an alias name a version; `expected` is the ETag the caller saw, 0 for an alias that must not exist yet.

    Naming the version it names already changes nothing.

    Raises:
        NotFound: there is no such model or version.
        NotReady: the version is still exporting, or its export failed.
        StaleVersion: the alias has moved since.
    """
    check_name("alias", name)
    # Every move of a model's aliases holds the model's row: of two at once, the second sees what the first did.
    session.get(Model, model, with_for_update=True)
    version = get_version(session, model, number)
    if version.state != "ready":
        raise NotReady(f"model version {version.ref} is {version.state}; only a ready one can be promoted")
    alias = session.get(Alias, (model, name), populate_existing=True)
    current = alias.version if alias is not None else 0
    if expected is not None and expected != current:
        raise StaleVersion(f"alias {model}@{name}", expected, current)
    if alias is not None and alias.model_version_id == version.id:
        return alias
    return _point(session, alias, version, name, actor)


def remove_alias(session: Session, model: str, name: str, actor: str, expected: int | None = None) -> None:
    """Take an alias away; its history stays. What it named is served no longer unless something else keeps it warm.

    Raises:
        NotFound: there is no such alias.
        StaleVersion: it has moved since.
    """
    session.get(Model, model, with_for_update=True)
    alias = get_alias(session, model, name)
    if expected is not None and expected != alias.version:
        raise StaleVersion(f"alias {model}@{name}", expected, alias.version)
    session.delete(alias)
    session.add(AliasMove(model=model, alias=name, from_number=alias.number, to_number=None, created_by=actor))
    session.flush()


def history(session: Session, model: str, name: str, page: Page | None = None) -> Listing[AliasMove]:
    """Every move of an alias, newest first, also of one that was removed; raises `NotFound` where there was none."""
    query = select(AliasMove).where(AliasMove.model == model, AliasMove.alias == name)
    if session.scalar(query.limit(1)) is None:
        get_alias(session, model, name)
    return paginate(session, query, AliasMove.id, page or Page())


def resolve(session: Session, ref: str) -> ModelVersion:
    """The version that `name@alias`, `name:3` or `name` (its alias `production`) names, in whatever state it is.

    Raises:
        NotFound: there is no such model, alias or version.
    """
    name, colon, text = ref.partition(":")
    if colon:
        return get_version(session, name, parse_number(text) or 0)
    name, at, alias = ref.partition("@")
    named = get_alias(session, name, alias if at else PRODUCTION)
    return session.get_one(ModelVersion, named.model_version_id)


def resolve_ready(session: Session, ref: str) -> ModelVersion:
    """As `resolve`, but raises `NotReady` unless the version's bundle exists."""
    version = resolve(session, ref)
    if version.state != "ready":
        raise NotReady(f"model version {version.ref} is {version.state}: {version.reason or 'wait for its export'}")
    return version


def _point(session: Session, alias: Alias | None, version: ModelVersion, name: str, actor: str) -> Alias:
    before = alias.number if alias is not None else None
    if alias is None:
        alias = Alias(model=version.model, name=name, created_by=actor)
        session.add(alias)
    alias.model_version_id, alias.number, alias.moved_at = version.id, version.number, datetime.now(UTC)
    move = AliasMove(model=version.model, alias=name, from_number=before, to_number=version.number, created_by=actor)
    session.add(move)
    session.flush()
    notices.tell_alias(session, move)
    return alias
