"""What surrounds every call: its token, its message off the event loop, errors as statuses, and a record of it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from google.protobuf.message import DecodeError, Message
from tritonclient.grpc import service_pb2

from control.records.access.principals import Principal
from control.records.access.tokens import Scope
from server.features.errors import BadTensor, DeadlineExceeded
from server.http.access import note
from server.http.callers.auth import Doorman
from server.http.errors.handlers import problem_of
from server.http.problems import Problem
from server.rpc.record import Record, Recorder

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
    record: Record


Handler = Callable[[bytes, Any], Awaitable[bytes]]


class Doorway:
    """Wraps what answers a call, by the call's name."""

    def __init__(self, doorman: Doorman, recorder: Recorder) -> None:
        self._doorman = doorman
        self._recorder = recorder

    def open(self, name: str, work: Callable[[Any], Awaitable[Message]]) -> Handler:
        """For anyone."""

        async def whole(payload: bytes, context: Any, record: Record) -> Message:
            return await work(_parse(name, payload))

        return self._handler(name, whole)

    def closed(self, name: str, scope: Scope, work: Callable[[Any, Call], Awaitable[Message]]) -> Handler:
        """For tokens of a scope; who may not ask learns nothing, and costs nothing."""

        async def whole(payload: bytes, context: Any, record: Record) -> Message:
            call = await self._admit(scope, context, record)
            return await work(await asyncio.to_thread(_parse, name, payload), call)

        return self._handler(name, whole)

    def _handler(self, name: str, whole: Callable[[bytes, Any, Record], Awaitable[Message]]) -> Handler:
        async def handle(payload: bytes, context: Any) -> bytes:
            with self._recorder.call(name, context.invocation_metadata(), len(payload)) as record:
                trailing = {"x-request-id": record.identity}
                try:
                    message = await whole(payload, context, record)
                    answer: bytes = await asyncio.to_thread(message.SerializeToString)
                except Exception as error:
                    problem = problem_of(error) or _unexpected(name, error, record)
                    trailing |= {key.lower(): value for key, value in problem.headers.items()}
                    detail = record.refused(problem, context.time_remaining())
                    await context.abort(record.code, detail, tuple(trailing.items()))
                    raise  # `abort` has raised
                context.set_trailing_metadata(tuple(trailing.items()))
                record.answered(len(answer))
                return answer

        return handle

    async def _admit(self, scope: Scope, context: Any, record: Record) -> Call:
        host = host_of(context.peer())
        header = record.headers.get("authorization")
        principal = await self._doorman.admit(header, host, last_good=scope == "features")
        note(record.scope, token=principal.token_id)
        principal.require(scope)
        if any(name in record.headers for name in _FORWARDED):
            host = "forwarded"
        left = context.time_remaining()
        if left is not None and left <= 0:
            raise DeadlineExceeded("the caller's deadline passed before the request's turn came")
        return Call(principal, host, left, lambda act: context.add_done_callback(lambda _: act()), record)


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


def _unexpected(name: str, error: Exception, record: Record) -> Problem:
    log.error("request %s failed: %s", record.identity, name, exc_info=error)
    return Problem("internal", f"something broke here; the log has it under request id {record.identity}")
