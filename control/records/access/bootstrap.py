"""The first token, which a file rules: whoever may read the file is an admin."""

import os
import secrets
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.models import Token
from control.db.session import database_time
from control.errors import SettingsError
from control.records.access.tokens import BOOTSTRAP, has_secret, make_secret, store_token

_MINIMUM_LENGTH = 32
"""Characters of a secret that an operator brings along."""


def ensure_bootstrap_token(session: Session, secret: str) -> Token:
    """The admin token with this secret; made when it is not there, and bootstrap tokens with other secrets revoked.

    Raises:
        SettingsError: the secret is too short to be one.
    """
    if len(secret) < _MINIMUM_LENGTH:
        raise SettingsError(f"the bootstrap token has {len(secret)} characters; give it {_MINIMUM_LENGTH} random ones")
    wanted = None
    name, maker = BOOTSTRAP
    live = select(Token).where(Token.name == name, Token.created_by == maker, Token.revoked_at.is_(None))
    for token in session.scalars(live.with_for_update()):
        if has_secret(token, secret):
            wanted = token
        else:
            token.revoked_at = database_time(session)
    return wanted or store_token(session, secret, name, ("admin",), maker, None, None)


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
