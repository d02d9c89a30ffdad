"""Aliases and pins: promote and roll back a version, and keep one for whoever needs it."""

from fastapi import APIRouter, Request, Response

from control.db.models import Alias
from control.records.access import audit
from control.records.access.principals import Principal
from control.records.models import aliases, registry
from server.http.answers.etags import IfMatch, etag, expected_version
from server.http.deps import Named, Number, Reader, Services, Shared, Submitter, WantedPage
from server.http.problems import request_id
from server.http.schemas.base import Page
from server.http.schemas.models import AliasMoveView, AliasRequest, AliasView, PinView, alias_view, move_view, pin_view

router = APIRouter(prefix="/models/{name}", tags=["models"])

LOAD_SECONDS = 120.0
"""A version that is promoted is loaded and warm within this time, or the promotion is refused."""


@router.get("/aliases", summary="List the aliases of a model")
def list_all(name: Named, _: Reader, services: Shared, page: WantedPage) -> Page[AliasView]:
    """Each with the version it points at, by name."""
    with services.look() as session:
        found = aliases.page_aliases(session, name, page)
        return Page(items=[alias_view(row) for row in found.items], next_page_token=found.next_page_token)


@router.get("/aliases/{alias}", summary="Show where an alias points")
def show(name: Named, alias: Named, _: Reader, services: Shared, response: Response) -> AliasView:
    """The ETag is what `If-Match` takes."""
    with services.look() as session:
        row = aliases.get_alias(session, name, alias)
    response.headers["ETag"] = etag(row.version)
    return alias_view(row)


@router.put("/aliases/{alias}", summary="Point an alias at a version: promote, or roll back")
def promote(
    name: Named,
    alias: Named,
    body: AliasRequest,
    who: Submitter,
    services: Shared,
    request: Request,
    response: Response,
    if_match: IfMatch = None,
) -> AliasView:
    """Answers 200 only when this server serves the version, loaded and warm; other servers follow within 2 s.

    No request is dropped: the version before answers until the new one is warm, and finishes what it was given.
    """
    who.require_model(name)
    expected = expected_version(if_match)
    with services.look() as session:
        aliases.resolve_ready(session, f"{name}:{body.version}")
    if services.features is not None:
        services.features.models.ensure(name, body.version, LOAD_SECONDS)
    row = _move(services, who, request, name, alias, body.version, expected)
    if services.features is not None:
        services.features.models.refresh()
    response.headers["ETag"] = etag(row.version)
    return alias_view(row)


@router.get("/aliases/{alias}/history", summary="Every move of an alias, newest first")
def history(name: Named, alias: Named, _: Reader, services: Shared, page: WantedPage) -> Page[AliasMoveView]:
    """Who moved it when, from which version to which."""
    with services.look() as session:
        found = aliases.history(session, name, alias, page)
        return Page(items=[move_view(row) for row in found.items], next_page_token=found.next_page_token)


@router.get("/versions/{number}/pins", summary="Who needs a version to stay")
def pins(name: Named, number: Number, _: Reader, services: Shared, page: WantedPage) -> Page[PinView]:
    """A pinned version stays warm and cannot be deleted."""
    with services.look() as session:
        version = registry.get_version(session, name, number)
        found = registry.list_pins(session, version, page)
        items = [pin_view(row, version) for row in found.items]
    return Page(items=items, next_page_token=found.next_page_token)


@router.put("/versions/{number}/pins/{consumer}", summary="Pin a version for a consumer")
def pin(name: Named, number: Number, consumer: Named, who: Submitter, services: Shared, request: Request) -> PinView:
    """Keeps it warm on every server, and from being deleted, until the pin is let go. Pinning again changes nothing."""
    who.require_model(name)
    with services.work() as session:
        version = registry.get_version(session, name, number)
        row = registry.pin(session, version, consumer, who.name)
        target = f"{version.ref} for {consumer}"
        audit.note(session, who.name, "model.pin", target, request_id=request_id(request.scope))
        return pin_view(row, version)


@router.delete("/versions/{number}/pins/{consumer}", status_code=204, summary="Let a pin go")
def unpin(name: Named, number: Number, consumer: Named, who: Submitter, services: Shared, request: Request) -> None:
    """The version may be let go by servers, and deleted, once nothing else holds it."""
    who.require_model(name)
    with services.work() as session:
        version = registry.get_version(session, name, number)
        registry.unpin(session, version, consumer)
        target = f"{version.ref} for {consumer}"
        audit.note(session, who.name, "model.unpin", target, request_id=request_id(request.scope))


def _move(
    services: Services, who: Principal, request: Request, name: str, alias: str, number: int, expected: int | None
) -> Alias:
    with services.work() as session:
        row = aliases.set_alias(session, name, alias, number, who.name, expected)
        details = {"version": number}
        audit.note(session, who.name, "alias.move", f"{name}@{alias}", details, request_id(request.scope))
    return row
