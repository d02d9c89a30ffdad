"""Secrets of webhooks and the signatures made with them: the scheme of Standard Webhooks, version 1.

No secret is kept. Each is derived from one signing key of the service and the webhook's id, so a copy of the database
gives nobody a way to forge a message. The signature is HMAC-SHA256 over `id.timestamp.body`.
"""

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from control.errors import NotReady
from control.settings import Settings

KEY_FILE = "webhook_key"
PREFIX = "whsec_"
_MINIMUM_LENGTH = 32


def signing_key(settings: Settings) -> bytes:
    """The key all secrets are derived from: the setting, or when embedded a file in the data folder, made on first use.

    Raises:
        NotReady: there is none, or it is too short.
    """
    if settings.webhook_key is not None:
        key = settings.webhook_key.get_secret_value()
    elif settings.embedded:
        key = _own_key(settings.data_dir / KEY_FILE)
    else:
        raise NotReady("webhooks need a signing key: give every server and worker the same DETCO_WEBHOOK_KEY_FILE")
    if len(key) < _MINIMUM_LENGTH:
        raise NotReady(f"DETCO_WEBHOOK_KEY is too short: give it {_MINIMUM_LENGTH} random characters or more")
    return key.encode()


def secret_of(key: bytes, webhook_id: str, generation: int) -> str:
    """The secret of a webhook: `whsec_` and 32 bytes in base 64."""
    derived = hmac.new(key, f"{webhook_id}.{generation}".encode(), hashlib.sha256).digest()
    return PREFIX + base64.b64encode(derived).decode()


def check_of(secret: str) -> str:
    """Tells secrets apart without giving them away."""
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


def signature_headers(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that prove a message: one signature for each secret, the newest first."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = [f"v1,{_sign(secret, signed)}" for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def _sign(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _own_key(path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # Unlike a rename, never replaces the key another process wrote meanwhile.
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path.read_text("utf-8").strip()
