"""Who is asking: bearer tokens, looked up in the tables and remembered for 30 seconds.

Async callers never touch a table here: a look-up runs in the thread pool, and a remembered token costs a dictionary
read. A revoked token is therefore refused after 30 seconds at most.
"""

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from ipaddress import IPv4Address, ip_address, ip_network

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from control.db.session import read_only, unit_of_work
from control.errors import Unauthorized
from control.records.access import principals
from control.records.access.principals import Principal
from server.http.callers.known_tokens import KnownTokens
from server.http.problems import Problem
from server.telemetry import Telemetry

log = logging.getLogger(__name__)

REMEMBER_SECONDS = 30.0
_PATIENCE = 2.0
"""Seconds the feature path waits for the tables, for a token that it knows."""
_STRANGERS_PATIENCE = 30.0
"""Seconds for a token that it does not know, and for every other route; as long as they wait for a free connection."""
_LEFT_ALONE = 10.0
"""Seconds for which it does not ask tables that have not answered."""
_THREADS = 4
_MOST = 10_000
"""Tokens and callers remembered at once."""
_MISTAKES, _WINDOW = 30, 10.0
"""Unknown tokens one address may show in this many seconds before it is told to slow down; known ones always pass."""


class Doorman:
    """Turns an Authorization header into a principal; one for each service process, used from its event loop."""

    def __init__(self, engine: Engine, known: KnownTokens, telemetry: Telemetry) -> None:
        self._engine = engine
        self._known = known
        self._telemetry = telemetry
        self._remembered: OrderedDict[str, tuple[Principal, float]] = OrderedDict()
        self._mistakes: OrderedDict[str, list[float]] = OrderedDict()
        self._touches: set[asyncio.Future[None]] = set()
        self._asks_again_at = 0.0
        # Threads of its own: a database that is cut off holds them up, and must hold up nothing else.
        self._threads = ThreadPoolExecutor(_THREADS, "doorman")

    async def admit(self, authorization: str | None, address: str, *, last_good: bool = False) -> Principal:
        """The principal of a request.

        `last_good`: while the database is away, take a token as it was known last.

        Raises:
            Unauthorized: no bearer token, or one that is unknown, expired or revoked.
            Problem: 429, too many unknown tokens from this address.
        """
        try:
            return await self._admit(_bearer(authorization), address, last_good=last_good)
        except Unauthorized:
            self._telemetry.refused("unauthorized")
            raise

    async def _admit(self, secret: str, address: str, *, last_good: bool) -> Principal:
        digest = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
        remembered = self._remembered.get(digest)
        if remembered is not None and remembered[1] > time.monotonic():
            return _unexpired(remembered[0])
        principal = await self._look_up(secret, digest, address, last_good=last_good)
        self._remembered[digest] = (principal, time.monotonic() + REMEMBER_SECONDS)
        while len(self._remembered) > _MOST:
            self._remembered.popitem(last=False)
        return principal

    async def _look_up(self, secret: str, digest: str, address: str, *, last_good: bool) -> Principal:
        known = self._known.get(digest) if last_good else None
        if known is not None and time.monotonic() < self._asks_again_at:
            return _unexpired(known)
        try:
            principal = await self._asked(secret, digest, _STRANGERS_PATIENCE if known is None else _PATIENCE)
        except Unauthorized:
            self._remembered.pop(digest, None)
            self._note_mistake(address)
            raise
        except (SQLAlchemyError, TimeoutError) as error:
            if known is None:
                if isinstance(error, SQLAlchemyError):
                    raise
                raise _unanswered() from error
            self._asks_again_at = time.monotonic() + _LEFT_ALONE
            log.warning("the database is away: token %r is taken as it was known last", known.name)
            return _unexpired(known)
        # Noting the use needs the write lock: nobody waits for that.
        touch = asyncio.get_running_loop().run_in_executor(self._threads, self._touch, principal.token_id)
        self._touches.add(touch)
        touch.add_done_callback(self._touches.discard)
        return principal

    async def _asked(self, secret: str, digest: str, patience: float) -> Principal:
        """What the tables say; raises `TimeoutError` when they say nothing in time. What has begun goes on."""
        asked = asyncio.get_running_loop().run_in_executor(self._threads, self._ask_tables, secret, digest)
        # Looked at here, should nobody wait for it any more by the time it has failed.
        asked.add_done_callback(lambda future: future.cancelled() or future.exception())
        done, _ = await asyncio.wait((asked,), timeout=patience)
        if not done:
            asked.cancel()
            raise TimeoutError("the database does not answer")
        return asked.result()

    def _ask_tables(self, secret: str, digest: str) -> Principal:
        try:
            with read_only(self._engine) as session:
                principal = principals.authenticate(session, secret)
        except Unauthorized:
            self._known.forget(digest)
            raise
        self._known.remember(digest, principal)
        return principal

    def _touch(self, token_id: str) -> None:
        try:
            with unit_of_work(self._engine) as session:
                principals.touch(session, token_id)
        except SQLAlchemyError as error:
            log.info("the use of token %s could not be noted: %s", token_id, error)

    def _note_mistake(self, address: str) -> None:
        """Remember an unknown token; raises `Problem` (429) when the address has shown too many lately."""
        now = time.monotonic()
        address = neighbourhood(address)
        moments = self._mistakes.setdefault(address, [])
        moments.append(now)
        del moments[: -_MISTAKES - 1]
        self._mistakes.move_to_end(address)
        while len(self._mistakes) > _MOST:
            self._mistakes.popitem(last=False)
        if len(moments) > _MISTAKES and moments[0] > now - _WINDOW:
            self._telemetry.refused("too_many_unknown_tokens")
            detail = f"too many unknown tokens came from {address}; wait, then use a valid one"
            headers = {"Retry-After": str(int(_WINDOW))}
            raise Problem("too_many_requests", detail, code="too_many_unknown_tokens", headers=headers)


def neighbourhood(address: str) -> str:
    """An IPv4 address, or the network of an IPv6 one: whoever has one address there has 2^64."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ip_network((int(found) >> 64 << 64, 64)))


def _bearer(authorization: str | None) -> str:
    kind, _, secret = (authorization or "").partition(" ")
    if kind.lower() != "bearer" or not secret.strip():
        raise Unauthorized("send a token in the header: Authorization: Bearer TOKEN")
    return secret.strip()


def _unanswered() -> Problem:
    detail = f"the database has not answered for {_STRANGERS_PATIENCE:g} s, and this token is not known here"
    return Problem("unavailable", detail, code="database_unavailable", headers={"Retry-After": "2"})


def _unexpired(principal: Principal) -> Principal:
    if principal.expires_at is not None and principal.expires_at <= datetime.now(UTC):
        raise Unauthorized(f"token {principal.name!r} expired at {principal.expires_at.isoformat()}")
    return principal
