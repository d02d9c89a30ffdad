"""Delivers what webhooks are owed: one thread for each that is being served, so that a slow one delays no other.

At least once: a delivery is noted after its answer, so a worker that dies in between sends it again, under the same
event id. Where a URL leads is checked at each connection (`control.outbound`), redirects are not followed, no proxy and
no `.netrc` is used, and neither the wait nor the answer is unbounded.
"""

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from ssl import SSLContext
from typing import Any

import httpx
from sqlalchemy import Engine

from control.db.models import Delivery, Webhook
from control.db.session import database_time, read_only, unit_of_work
from control.errors import InvalidRequest, NotReady
from control.outbound import ForbiddenAddress, Network, read_url, resolve
from control.records.webhooks import deliveries
from control.records.webhooks.deliveries import Receipt
from control.records.webhooks.webhooks import OVERLAP
from control.settings import Settings
from control.signing import check_of, secret_of, signature_headers, signing_key
from detco_core import __version__
from worker.background import in_background
from worker.outages import DATABASE_AWAY

CONNECT_SECONDS, TOTAL_SECONDS = 5.0, 15.0
"""For one message: until it is connected, and until its answer is read."""
_SPELL_SECONDS = 20.0
"""A thread serves its webhook this long before others have their turn."""
_THREADS = 8
_ANSWER_BYTES = 1024
"""Of an answer, kept in the log of deliveries."""
_QUIET_SECONDS = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message, ready to be signed and sent."""

    delivery_id: str
    event_id: str
    type: str
    url: str
    body: bytes
    secrets: tuple[str, ...]
    """Newest first."""


class Courier:
    """Sends what is due; `tend` is called often and never blocks on a receiver."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._under_way: dict[str, Future[None]] = {}
        self._quiet_until = 0.0

    def tend(self) -> None:
        """Begin to serve webhooks that are owed something and not being served."""
        self._under_way = {key: future for key, future in self._under_way.items() if not future.done()}
        with read_only(self._engine) as session:
            owed = deliveries.due(session, tuple(self._under_way))
            now = database_time(session)
        rounds: dict[str, list[tuple[Delivery, Webhook]]] = {}
        for delivery, webhook in owed:
            rounds.setdefault(webhook.id, []).append((delivery, webhook))
        for webhook_id, pairs in rounds.items():
            secrets = self._secrets(pairs[0][1], now)
            if secrets and len(self._under_way) < _THREADS:
                parcels = [_parcel(delivery, webhook, secrets) for delivery, webhook in pairs]
                self._under_way[webhook_id] = in_background(partial(self._serve, parcels), "courier")

    def _secrets(self, webhook: Webhook, now: datetime) -> tuple[str, ...]:
        """The secrets to sign with; none where this process has not the key the webhook was made with."""
        try:
            key = signing_key(self._settings)
        except NotReady as error:
            self._complain(str(error))
            return ()
        newest = secret_of(key, webhook.id, webhook.generation)
        if check_of(newest) != webhook.secret_check:
            self._complain(f"{webhook.id} was made with another DETCO_WEBHOOK_KEY than this worker's: nothing is sent")
            return ()
        overlap = webhook.rotated_at is not None and now - webhook.rotated_at < OVERLAP
        return (newest, secret_of(key, webhook.id, webhook.generation - 1)) if overlap else (newest,)

    def _complain(self, fault: str) -> None:
        if time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + _QUIET_SECONDS
            _log.error("webhooks: %s", fault)

    def _serve(self, parcels: Sequence[Parcel]) -> None:
        """Send one webhook's messages until one fails: the others would most likely too, and wait their turn."""
        until = time.monotonic() + _SPELL_SECONDS
        for parcel in parcels:
            receipt = asyncio.run(send(parcel, self._settings.webhook_networks))
            _log.info("event %s (%s): %s", parcel.event_id, parcel.type, receipt.status or receipt.error)
            # What cannot be noted is sent again: better twice than never.
            with suppress(*DATABASE_AWAY), unit_of_work(self._engine) as session:
                deliveries.settle(session, parcel.delivery_id, receipt)
            if not receipt.ok or time.monotonic() > until:
                return


async def send(parcel: Parcel, networks: Sequence[Network] = ()) -> Receipt:
    """Send a message to the address its URL has now; whatever goes wrong is in the receipt."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            status, answer = await _post(parcel, networks)
    except TimeoutError:
        return Receipt(False, _since(began), error=f"no whole answer within {TOTAL_SECONDS:.0f} s")
    except (ForbiddenAddress, InvalidRequest) as error:
        return Receipt(False, _since(began), error=str(error))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        return Receipt(False, _since(began), error=f"{type(error).__name__}: {error}"[:500])
    refused = "redirects are not followed" if 300 <= status < 400 else None
    return Receipt(200 <= status < 300, _since(began), status, refused, answer)


async def _post(parcel: Parcel, networks: Sequence[Network]) -> tuple[int, str]:
    place = read_url(parcel.url)
    address = await asyncio.to_thread(resolve, place, networks)
    url = httpx.URL(parcel.url)
    limits = httpx.Timeout(TOTAL_SECONDS, connect=CONNECT_SECONDS)
    async with httpx.AsyncClient(verify=_trusted(), trust_env=False, follow_redirects=False, timeout=limits) as client:
        # To the very address that was checked, whatever its name may resolve to by now.
        request = client.build_request(
            "POST",
            url.copy_with(host=address),
            content=parcel.body,
            headers=_headers(parcel) | {"Host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": place.host},
        )
        response = await client.send(request, stream=True)
        try:
            return response.status_code, await _beginning(response)
        finally:
            await response.aclose()


async def _beginning(response: httpx.Response) -> str:
    read = b""
    async for chunk in response.aiter_raw(_ANSWER_BYTES):
        read += chunk
        if len(read) >= _ANSWER_BYTES:
            break
    return read[:_ANSWER_BYTES].decode("utf-8", "replace")


def _headers(parcel: Parcel) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "User-Agent": f"detco/{__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        **signature_headers(parcel.secrets, parcel.event_id, int(time.time()), parcel.body),
    }


def _parcel(delivery: Delivery, webhook: Webhook, secrets: tuple[str, ...]) -> Parcel:
    return Parcel(
        delivery_id=delivery.id,
        event_id=delivery.event_id,
        type=delivery.type,
        url=webhook.url,
        body=body_of(delivery.payload),
        secrets=secrets,
    )


def body_of(payload: dict[str, Any]) -> bytes:
    """The same bytes for every try: keys are sorted, since one database keeps their order and the other does not."""
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@cache
def _trusted() -> SSLContext:
    """The certificate authorities of httpx, or those the environment names (`SSL_CERT_FILE`)."""
    return httpx.create_ssl_context()


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
