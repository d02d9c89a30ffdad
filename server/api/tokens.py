"""Tokens: who may do what."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request, Response

from control.records.access import audit, tokens
from control.records.access.quotas import Quota, set_quota
from server.http.deps import Admin, Named, Shared, WantedPage
from server.http.problems import request_id
from server.http.schemas.base import Page
from server.http.schemas.service import (
    NewTokenView,
    RotationRequest,
    TokenRequest,
    TokenView,
    new_token_view,
    token_view,
)

router = APIRouter(prefix="/tokens", tags=["tokens"])


@router.post("", status_code=201, summary="Make a token")
def make(body: TokenRequest, who: Admin, services: Shared, request: Request, response: Response) -> NewTokenView:
    """The secret is in this answer and nowhere else: only its hash is kept."""
    who.require_models(body.models)
    expires_at = _moment(body.expires_in_seconds)
    with services.work() as session:
        made = tokens.create_token(session, body.name, body.scopes, who.name, models=body.models, expires_at=expires_at)
        set_quota(session, made.token.id, Quota(**body.quota.model_dump()))
        details = {"name": body.name, "scopes": sorted(body.scopes)}
        audit.note(session, who.name, "token.create", made.token.id, details, request_id(request.scope))
    response.headers["Location"] = f"/v1/tokens/{made.token.id}"
    response.headers["Cache-Control"] = "no-store"
    return new_token_view(made.token, made.secret)


@router.get("", summary="List tokens, newest first")
def list_all(_: Admin, services: Shared, page: WantedPage) -> Page[TokenView]:
    """Revoked and expired ones too; never a secret."""
    with services.look() as session:
        found = tokens.list_tokens(session, page)
        return Page(items=[token_view(row) for row in found.items], next_page_token=found.next_page_token)


@router.get("/{token}", summary="Show a token")
def show(token: Named, _: Admin, services: Shared) -> TokenView:
    """Without its secret."""
    with services.look() as session:
        return token_view(tokens.get_token(session, token))


@router.post("/{token}/rotate", status_code=201, summary="Make a token that takes another's place")
def rotate(
    token: Named, body: RotationRequest, who: Admin, services: Shared, request: Request, response: Response
) -> NewTokenView:
    """With the same rights and a new secret. The old one is taken for `grace_seconds` more, in which its users change
    over; 0 ends it at once.
    """
    with services.work() as session:
        who.require_models(tokens.get_token(session, token).models)
        grace = timedelta(seconds=body.grace_seconds)
        made = tokens.rotate_token(session, token, who.name, grace, _moment(body.expires_in_seconds))
        details = {"name": made.token.name, "replaces": token, "grace_seconds": body.grace_seconds}
        audit.note(session, who.name, "token.rotate", made.token.id, details, request_id(request.scope))
    response.headers["Location"] = f"/v1/tokens/{made.token.id}"
    response.headers["Cache-Control"] = "no-store"
    return new_token_view(made.token, made.secret)


@router.delete("/{token}", status_code=204, summary="Revoke a token")
def revoke(token: Named, who: Admin, services: Shared, request: Request) -> None:
    """Every server refuses it after 30 s at most. Revoking again changes nothing."""
    with services.work() as session:
        row = tokens.revoke_token(session, token)
        audit.note(session, who.name, "token.revoke", row.id, {"name": row.name}, request_id(request.scope))


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
