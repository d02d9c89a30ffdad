"""Webhooks: have an address told of events, see what became of the messages, and prove that one is genuine."""

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import cast
from urllib.parse import quote

from detco_client.errors import ClientError
from detco_client.resources.access import Delivery, NewWebhook, Webhook
from detco_client.transport import Transport

TOLERANCE_SECONDS = 300.0
"""A message may be this old: long enough for clocks that differ, short enough against replays."""
_PREFIX = "whsec_"


class BadSignature(ClientError):
    """The message is not one the service signed with this secret, or it is too old."""


def verify_webhook(
    secret: str, headers: Mapping[str, str], body: bytes, *, tolerance: float = TOLERANCE_SECONDS
) -> None:
    """Prove that a message comes from the service: to be called before anything in it is believed.

    The scheme is Standard Webhooks, version 1: HMAC-SHA256 over `webhook-id.webhook-timestamp.body`. Keep the ids of
    messages you have dealt with: one may come twice.

    Args:
        secret: `whsec_...`, as it was shown when the webhook was made.
        headers: of the request, their names in any case.
        body: of the request, byte for byte.
        tolerance: the greatest age, in seconds.

    Raises:
        BadSignature: naming what is wrong.
    """
    sent = {name.lower(): value for name, value in headers.items()}
    try:
        identity, stamp, signatures = (sent[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
        age = abs(time.time() - int(stamp))
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except KeyError as error:
        raise BadSignature(f"the message has no header {error.args[0]}") from error
    except ValueError as error:
        raise BadSignature(f"the secret or the timestamp is not one: {error}") from error
    signed = hmac.new(key, f"{identity}.{stamp}.".encode() + body, hashlib.sha256).digest()
    wanted = f"v1,{base64.b64encode(signed).decode()}".encode()
    if not any(hmac.compare_digest(wanted, one.encode()) for one in signatures.split()):
        raise BadSignature("no signature of the message fits the secret and the body")
    if age > tolerance:
        raise BadSignature(f"the message is {age:.0f} s old; at most {tolerance:.0f} s are taken")


class Webhooks:
    """`client.webhooks`; needs the scope `admin`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, url: str, events: Sequence[str], description: str | None = None) -> NewWebhook:
        """A new webhook; its secret is in the answer and nowhere else.

        Args:
            url: http or https.
            events: types, as `run.completed`, all of a noun's, as `run.*`, or `*`.
            description: for people.
        """
        body = {"url": url, "events": list(events)} | ({"description": description} if description else {})
        return cast(NewWebhook, self._transport.post("/v1/webhooks", body))

    def get(self, id: str) -> Webhook:
        return cast(Webhook, self._transport.get(_path(id)))

    def list(self) -> Iterator[Webhook]:
        return self._transport.items("/v1/webhooks")

    def change(
        self, id: str, *, url: str | None = None, events: Sequence[str] | None = None, enabled: bool | None = None
    ) -> Webhook:
        """Change what is not None."""
        body = {"url": url, "events": None if events is None else [*events], "enabled": enabled}
        asked = {name: value for name, value in body.items() if value is not None}
        return cast(Webhook, self._transport.patch(_path(id), asked))

    def rotate(self, id: str) -> NewWebhook:
        """A new secret; for 24 h messages carry signatures of both."""
        return cast(NewWebhook, self._transport.post(f"{_path(id)}/rotate"))

    def delete(self, id: str) -> None:
        self._transport.delete(_path(id))

    def test(self, id: str) -> Delivery:
        """Send a message that says nothing but that it arrived; the delivery tells what became of it."""
        return cast(Delivery, self._transport.post(f"{_path(id)}/test"))

    def deliveries(self, id: str, state: str | None = None) -> Iterator[Delivery]:
        """What it was told, newest first; `state` is `pending`, `delivered` or `failed`."""
        return self._transport.items(f"{_path(id)}/deliveries", {"state": state})

    def delivery(self, id: str, delivery: str) -> Delivery:
        return cast(Delivery, self._transport.get(_path(id, delivery)))

    def redeliver(self, id: str, delivery: str) -> Delivery:
        """Send a message again, under the same event id."""
        return cast(Delivery, self._transport.post(f"{_path(id, delivery)}/redeliver"))


def _path(id: str, delivery: str | None = None) -> str:
    own = f"/v1/webhooks/{quote(id, safe='')}"
    return own if delivery is None else f"{own}/deliveries/{quote(delivery, safe='')}"
