"""What surrounds every call: its token, its message off the event loop, errors as statuses, the log."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from google.protobuf.message import DecodeError, Message
from grpc import StatusCode
from tritonclient.grpc import service_pb2

from control.records.access.principals import Principal, Scope
from server.features.errors import BadTensor
from server.http.auth import Doorman
from server.http.handlers import problem_of
from server.http.problems import Problem
from server.rpc.statuses import status_of
from server.telemetry import Telemetry

log = logging.getLogger(__name__)

_FORWARDED = frozenset({"forwarded", "x-forwarded-for"})


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, and for how long they will wait."""

    principal: Principal
    host: str
    """The caller's; "" on a Unix socket, no address at all behind a proxy."""
    seconds: float | None
    """Until the caller's own deadline; None without one."""
    at_end: Callable[[Callable[[], None]], None]
    """Takes what is to be done once the answer is out, or nobody waits for it any more."""


Handler = Callable[[bytes, Any], Awaitable[bytes]]


class Doorway:
    """Wraps what answers a call, by the call's name."""

    def __init__(self, doorman: Doorman, telemetry: Telemetry) -> None:
        self._doorman = doorman
        self._telemetry = telemetry

    def open(self, name: str, work: Callable[[Any], Awaitable[Message]]) -> Handler:
        """For anyone."""

        async def handle(payload: bytes, context: Any) -> bytes:
            async def whole() -> Message:
                return await work(_parse(name, payload))

            return await self._answer(name, context, whole())

        return handle

    def closed(self, name: str, scope: Scope, work: Callable[[Any, Call], Awaitable[Message]]) -> Handler:
        """For tokens of a scope; who may not ask learns nothing, and costs nothing."""

        async def handle(payload: bytes, context: Any) -> bytes:
            async def whole() -> Message:
                call = await self._admit(scope, context)
                return await work(await asyncio.to_thread(_parse, name, payload), call)

            return await self._answer(name, context, whole())

        return handle

    async def _admit(self, scope: Scope, context: Any) -> Call:
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        host = host_of(context.peer())
        principal = await self._doorman.admit(metadata.get("authorization"), host, last_good=scope == "features")
        principal.require(scope)
        if _FORWARDED & metadata.keys():
            host = "forwarded"
        return Call(principal, host, context.time_remaining(), lambda act: context.add_done_callback(lambda _: act()))

    async def _answer(self, name: str, context: Any, work: Coroutine[Any, Any, Message]) -> bytes:
        began = time.perf_counter()
        code = StatusCode.CANCELLED
        try:
            message = await work
            payload: bytes = await asyncio.to_thread(message.SerializeToString)
            code = StatusCode.OK
            return payload
        except Exception as error:
            problem = problem_of(error) or _unexpected(name, error)
            code, detail = status_of(problem)
            trailing = tuple((key.lower(), value) for key, value in problem.headers.items())
            await context.abort(code, detail, trailing)
            raise  # `abort` has raised
        finally:
            seconds = time.perf_counter() - began
            self._telemetry.called(name, code.name, seconds)
            log.debug("gRPC %s -> %s in %.3f s", name, code.name, seconds)


def host_of(peer: str) -> str:
    """The address in gRPC's name of the other end: `ipv4:127.0.0.1:5000`, `ipv6:%5B::1%5D:5000`, `unix:`."""
    kind, _, place = unquote(peer).partition(":")
    return place.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""


def _parse(name: str, payload: bytes) -> Message:
    try:
        message: Message = getattr(service_pb2, f"{name}Request").FromString(payload)
    except DecodeError as error:
        raise BadTensor(f"the message is no {name}Request: {error}") from error
    return message


def _unexpected(name: str, error: Exception) -> Problem:
    identity = uuid.uuid4().hex
    log.error("call %s failed: %s", identity, name, exc_info=error)
    return Problem("internal", f"something broke here; the log has it under call id {identity}")
