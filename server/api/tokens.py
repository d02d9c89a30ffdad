"""Tokens: who may do what."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request, Response

from control.records import audit, principals
from server.http.deps import Admin, Named, Shared
from server.http.problems import request_id
from server.http.schemas.base import Page
from server.http.schemas.service import NewTokenView, TokenRequest, TokenView, new_token_view, token_view

router = APIRouter(prefix="/tokens", tags=["tokens"])


@router.post("", status_code=201, summary="Make a token")
def make(body: TokenRequest, who: Admin, services: Shared, request: Request, response: Response) -> NewTokenView:
    """The secret is in this answer and nowhere else: only its hash is kept."""
    seconds = body.expires_in_seconds
    expires_at = None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
    with services.work() as session:
        made = principals.create_token(
            session, body.name, body.scopes, who.name, models=body.models, expires_at=expires_at
        )
        details = {"name": body.name, "scopes": sorted(body.scopes)}
        audit.note(session, who.name, "token.create", made.token.id, details, request_id(request.scope))
    response.headers["Location"] = f"/v1/tokens/{made.token.id}"
    response.headers["Cache-Control"] = "no-store"
    return new_token_view(made.token, made.secret)


@router.get("", summary="List tokens, newest first")
def list_all(_: Admin, services: Shared) -> Page[TokenView]:
    """Revoked and expired ones too; never a secret."""
    with services.look() as session:
        return Page(items=[token_view(row) for row in principals.list_tokens(session)])


@router.get("/{token}", summary="Show a token")
def show(token: Named, _: Admin, services: Shared) -> TokenView:
    """Without its secret."""
    with services.look() as session:
        return token_view(principals.get_token(session, token))


@router.delete("/{token}", status_code=204, summary="Revoke a token")
def revoke(token: Named, who: Admin, services: Shared, request: Request) -> None:
    """Every server refuses it after 30 s at most. Revoking again changes nothing."""
    with services.work() as session:
        row = principals.revoke_token(session, token)
        audit.note(session, who.name, "token.revoke", row.id, {"name": row.name}, request_id(request.scope))
