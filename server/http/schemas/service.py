"""The service about itself: what it is and takes, tokens, workers, audit, health."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from control.db.models import AuditEntry, Token
from control.records.access.quotas import quota_of
from server.http.schemas.base import Body, Json, Name, Resource, Text, View
from server.http.schemas.quotas import QuotaBody

Scope = Literal["read", "features", "submit", "admin"]


class Limits(View):
    """What one request may hold."""

    bytes: int
    """Of a request with images."""
    document_bytes: int
    """Of any other request."""
    pixels: int
    """Of one image."""
    images: int
    boxes: int
    """Over all images of the request."""


class Info(View):
    """What the service is and what it takes."""

    version: str
    minimum_client: str
    """The oldest `detco` client that works with it."""
    limits: Limits
    formats: list[str]
    """A model is exported to."""
    presets: list[str]
    tasks: list[str]
    """Of evaluation."""
    dataset_kinds: list[str]
    default_model: str | None
    embedded: bool


class TokenRequest(Body):
    """A new token."""

    name: Text
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    models: Annotated[tuple[Name, ...], Field(min_length=1, max_length=1000)] | None = None
    """Names it is limited to; null: all."""
    quota: QuotaBody = QuotaBody()
    expires_in_seconds: int | None = Field(default=None, ge=1, le=10 * 366 * 86400)


class RotationRequest(Body):
    """How a token hands over to a new one."""

    grace_seconds: int = Field(default=3600, ge=0, le=30 * 86400)
    """The old one is taken for this long still."""
    expires_in_seconds: int | None = Field(default=None, ge=1, le=10 * 366 * 86400)
    """Of the new one; null: it lasts as long as the old one was made to."""


class TokenView(Resource):
    """A token without its secret."""

    name: str
    prefix: str
    """The beginning of the secret, to tell tokens apart."""
    scopes: list[str]
    models: list[str] | None
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    replaces: str | None
    """The token it was made for by a rotation."""
    quota: QuotaBody


class NewTokenView(TokenView):
    """A token just made: `token` is shown this once."""

    token: str


class AuditView(View):
    """Who did what to what."""

    id: int
    time: datetime
    actor: str
    action: str
    target: str
    details: Json
    request_id: str | None


class Check(View):
    """One thing readiness stands on."""

    ok: bool
    detail: str


class Readiness(View):
    """Whether the service can do its work, part by part."""

    ready: bool
    checks: dict[str, Check]


def token_view(row: Token) -> TokenView:
    same = {name: getattr(row, name) for name in TokenView.model_fields if name != "quota"}
    return TokenView(**same, quota=QuotaBody(**asdict(quota_of(row))))


def new_token_view(row: Token, secret: str) -> NewTokenView:
    return NewTokenView(**token_view(row).model_dump(), token=secret)


def audit_view(row: AuditEntry) -> AuditView:
    return AuditView.model_validate(row, from_attributes=True)
