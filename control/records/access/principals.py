"""Tokens and whom they stand for. Only a hash of a secret is kept; its first characters find the row."""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from control.db.models import Token
from control.db.session import database_time
from control.errors import Conflict, Forbidden, InvalidRequest, NotFound, SettingsError, Unauthorized
from control.records.access.quotas import carry_over
from control.records.paging import Listing, Page, paginate

Scope = Literal["read", "features", "submit", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_PREFIX_LENGTH = 14
_MINIMUM_LENGTH = 32
"""Characters of a secret that an operator brings along."""
_USE_RESOLUTION = timedelta(minutes=1)
_BOOTSTRAP_NAME = "bootstrap"


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
    return NewToken(_store(session, secret, name, scopes, actor, models, expires_at), secret)


def make_secret() -> str:
    """`detco_` and 43 random characters."""
    return f"detco_{secrets.token_urlsafe(32)}"


def authenticate(session: Session, secret: str) -> Principal:
    """Whom a bearer token stands for; reads only. Raises `Unauthorized`."""
    now = database_time(session)
    for token in session.scalars(select(Token).where(Token.prefix == secret[:_PREFIX_LENGTH])):
        if hmac.compare_digest(token.secret_hash, _hash(secret)):
            return _principal(token, now)
    raise Unauthorized("the token is not known here")


def touch(session: Session, token_id: str) -> None:
    """Note that a token was used; written at most once a minute."""
    now = database_time(session)
    stale = or_(Token.last_used_at.is_(None), Token.last_used_at < now - _USE_RESOLUTION)
    session.execute(update(Token).where(Token.id == token_id, stale).values(last_used_at=now))


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
    if (old.name, old.created_by) == (_BOOTSTRAP_NAME, "detco"):
        raise Conflict("the bootstrap token is rotated by putting a new secret into its file and starting again")
    if expires_at is None and old.expires_at is not None:
        expires_at = now + (old.expires_at - old.created_at)
    secret = make_secret()
    new = _store(session, secret, old.name, old.scopes, actor, old.models, expires_at)
    new.replaces = old.id
    carry_over(session, old, new)
    old.expires_at = min(old.expires_at or now + grace, now + grace)
    session.flush()
    return NewToken(new, secret)


def list_tokens(session: Session, page: Page | None = None) -> Listing[Token]:
    """All tokens, newest first; without secrets, which nobody has."""
    return paginate(session, select(Token), Token.id, page or Page())


def ensure_bootstrap_token(session: Session, secret: str) -> Token:
    """The admin token with this secret; made when it is not there, and bootstrap tokens with other secrets revoked.

    Raises:
        SettingsError: the secret is too short to be one.
    """
    if len(secret) < _MINIMUM_LENGTH:
        raise SettingsError(f"the bootstrap token has {len(secret)} characters; give it {_MINIMUM_LENGTH} random ones")
    wanted = None
    live = select(Token).where(Token.name == _BOOTSTRAP_NAME, Token.created_by == "detco", Token.revoked_at.is_(None))
    for token in session.scalars(live.with_for_update()):
        if hmac.compare_digest(token.secret_hash, _hash(secret)):
            wanted = token
        else:
            token.revoked_at = database_time(session)
    return wanted or _store(session, secret, _BOOTSTRAP_NAME, ("admin",), "detco", None, None)


def bootstrap_secret(path: Path, *, make: bool) -> str:
    """The secret in the token file; with `make`, a missing file is written with a new one, mode 0600.

    Raises:
        SettingsError: the file is missing or cannot be read.
    """
    if make:
        _write_secret(path)
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise SettingsError(f"the bootstrap token cannot be read: {error}; set DETCO_BOOTSTRAP_TOKEN_FILE") from error


def _write_secret(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(make_secret() + "\n")
    try:
        os.link(temporary, path)  # Unlike a rename, never replaces the token another process wrote meanwhile.
    except FileExistsError:
        return
    finally:
        temporary.unlink()


def _store(
    session: Session,
    secret: str,
    name: str,
    scopes: Iterable[str],
    actor: str,
    models: Iterable[str] | None,
    expires_at: datetime | None,
) -> Token:
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


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
