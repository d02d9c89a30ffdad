"""Tokens as rows. Only a hash of a secret is kept; its first characters find the row."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.models import Token
from control.db.session import database_time
from control.errors import Conflict, InvalidRequest, NotFound
from control.records.access.quotas import carry_over
from control.records.paging import Listing, Page, paginate

Scope = Literal["read", "features", "submit", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
BOOTSTRAP = ("bootstrap", "detco")
"""Name and maker of the token that a file rules; see `bootstrap`."""

_PREFIX_LENGTH = 14


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token and its secret, which is shown this once."""

    token: Token
    secret: str


def create_token(
    session: Session,
    name: str,
    scopes: Iterable[str],
    actor: str,
    *,
    models: Iterable[str] | None = None,
    expires_at: datetime | None = None,
) -> NewToken:
    """Make a token; raises `InvalidRequest` for an unknown scope, or none."""
    secret = make_secret()
    return NewToken(store_token(session, secret, name, scopes, actor, models, expires_at), secret)


def make_secret() -> str:
    """`detco_` and 43 random characters."""
    return f"detco_{secrets.token_urlsafe(32)}"


def find_token(session: Session, secret: str) -> Token | None:
    """The token with this secret, ended or not."""
    same = select(Token).where(Token.prefix == secret[:_PREFIX_LENGTH])
    return next((token for token in session.scalars(same) if has_secret(token, secret)), None)


def has_secret(token: Token, secret: str) -> bool:
    """Compares in a time that tells nothing of the secret."""
    return hmac.compare_digest(token.secret_hash, _hash(secret))


def get_token(session: Session, token_id: str) -> Token:
    """The token, without its secret; raises `NotFound`."""
    token = session.get(Token, token_id)
    if token is None:
        raise NotFound("token", token_id)
    return token


def revoke_token(session: Session, token_id: str) -> Token:
    """End a token; revoking again changes nothing. Raises `NotFound`."""
    token = session.get(Token, token_id, with_for_update=True)
    if token is None:
        raise NotFound("token", token_id)
    token.revoked_at = token.revoked_at or database_time(session)
    session.flush()
    return token


def rotate_token(
    session: Session, token_id: str, actor: str, grace: timedelta, expires_at: datetime | None = None
) -> NewToken:
    """A new token with the rights of an old one, which ends after `grace` at most.

    The new one lasts until `expires_at`; None: for as long as the old one was made to last.

    Raises:
        NotFound: there is no such token.
        Conflict: it has ended already, or is the bootstrap token, which its file rules.
    """
    old = session.get(Token, token_id, with_for_update=True)
    if old is None:
        raise NotFound("token", token_id)
    now = database_time(session)
    if old.revoked_at is not None or (old.expires_at is not None and old.expires_at <= now):
        raise Conflict(f"token {old.name!r} has ended; make a new one instead")
    if (old.name, old.created_by) == BOOTSTRAP:
        raise Conflict("the bootstrap token is rotated by putting a new secret into its file and starting again")
    if expires_at is None and old.expires_at is not None:
        expires_at = now + (old.expires_at - old.created_at)
    secret = make_secret()
    new = store_token(session, secret, old.name, old.scopes, actor, old.models, expires_at)
    new.replaces = old.id
    carry_over(session, old, new)
    old.expires_at = min(old.expires_at or now + grace, now + grace)
    session.flush()
    return NewToken(new, secret)


def list_tokens(session: Session, page: Page | None = None) -> Listing[Token]:
    """All tokens, newest first; without secrets, which nobody has."""
    return paginate(session, select(Token), Token.id, page or Page())


def store_token(
    session: Session,
    secret: str,
    name: str,
    scopes: Iterable[str],
    actor: str,
    models: Iterable[str] | None,
    expires_at: datetime | None,
) -> Token:
    """Write the row of a token whose secret is at hand; raises `InvalidRequest` for an unknown scope, or none."""
    asked = sorted(set(scopes))
    if not asked or not set(asked) <= set(SCOPES):
        raise InvalidRequest("scopes", f"give one or more of {', '.join(SCOPES)}")
    token = Token(
        name=name,
        prefix=secret[:_PREFIX_LENGTH],
        secret_hash=_hash(secret),
        scopes=asked,
        models=sorted(set(models)) if models is not None else None,
        expires_at=expires_at,
        created_by=actor,
    )
    session.add(token)
    session.flush()
    return token


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
