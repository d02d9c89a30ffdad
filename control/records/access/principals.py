"""Whom a token stands for, and what they may do."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from control.db.models import Token
from control.db.session import database_time
from control.errors import Forbidden, Unauthorized
from control.records.access.tokens import Scope, find_token

_USE_RESOLUTION = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking."""

    token_id: str
    name: str
    """Goes into `created_by` and the audit."""
    scopes: frozenset[str]
    models: frozenset[str] | None
    """Names of models it may use; None: all."""
    expires_at: datetime | None
    images: int | None = None
    """Under way at once in a feature server; None: as that is set."""
    pixels_per_second: int | None = None
    """Of images sent to a feature server; None: as that is set."""

    def require(self, scope: Scope) -> None:
        """Raise `Forbidden` unless the token has the scope; `admin` has them all."""
        if not self.scopes & {scope, "admin"}:
            raise Forbidden(f"token {self.name!r} lacks the scope {scope!r}; it has {', '.join(sorted(self.scopes))}")

    def require_model(self, model: str) -> None:
        """Raise `Forbidden` when the token is limited to other models."""
        if self.models is not None and model not in self.models:
            allowed = ", ".join(sorted(self.models))
            raise Forbidden(f"token {self.name!r} may not use model {model!r}; it may use {allowed}")

    def require_models(self, models: Iterable[str] | None) -> None:
        """Raise `Forbidden` unless it may use all of these; None: all there are."""
        if models is None and self.models is not None:
            raise Forbidden(
                f"token {self.name!r} is limited to models, and so must be what it makes: name some of them"
            )
        for model in models or ():
            self.require_model(model)


def authenticate(session: Session, secret: str) -> Principal:
    """Whom a bearer token stands for; reads only. Raises `Unauthorized`."""
    token = find_token(session, secret)
    if token is None:
        raise Unauthorized("the token is not known here")
    return _principal(token, database_time(session))


def still_good(session: Session, token_ids: Iterable[str]) -> dict[str, Principal]:
    """Whom those of these tokens stand for that have not ended, by the SHA-256 (hex) of their secrets; reads only."""
    now = database_time(session)
    lasting = or_(Token.expires_at.is_(None), Token.expires_at > now)
    found = session.scalars(select(Token).where(Token.id.in_(list(token_ids)), Token.revoked_at.is_(None), lasting))
    return {token.secret_hash: _principal(token, now) for token in found}


def touch(session: Session, token_id: str) -> None:
    """Note that a token was used; written at most once a minute."""
    now = database_time(session)
    stale = or_(Token.last_used_at.is_(None), Token.last_used_at < now - _USE_RESOLUTION)
    session.execute(update(Token).where(Token.id == token_id, stale).values(last_used_at=now))


def _principal(token: Token, now: datetime) -> Principal:
    if token.revoked_at is not None:
        raise Unauthorized(f"token {token.name!r} was revoked")
    if token.expires_at is not None and token.expires_at <= now:
        raise Unauthorized(f"token {token.name!r} expired at {token.expires_at.isoformat()}")
    models = frozenset(token.models) if token.models is not None else None
    return Principal(
        token_id=token.id,
        name=token.name,
        scopes=frozenset(token.scopes),
        models=models,
        expires_at=token.expires_at,
        images=token.max_images,
        pixels_per_second=token.max_pixels_per_second,
    )
