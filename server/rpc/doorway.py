"""What surrounds every call: its token, its message off the event loop, errors as statuses, and a record of it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError, Message

from control.records.access.principals import Principal
from control.records.access.tokens import Scope
from server.features.errors import BadTensor, DeadlineExceeded
from server.http.access import note
from server.http.answers.tensors import FREE_SECONDS, SLOWEST
from server.http.callers.auth import Doorman
from server.http.errors.handlers import problem_of
from server.http.problems import Problem
from server.rpc.cutting import cut
from server.rpc.record import Record, Recorder

log = logging.getLogger(__name__)

_FORWARDED = frozenset({"forwarded", "x-forwarded-for"})


Act = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, and for how long they will wait."""

    principal: Principal
    host: str
    """The caller's; "" on a Unix socket, no address at all behind a proxy."""
    seconds: float | None
    """Until the caller's own deadline; None without one."""
    at_end: Callable[[Act], object]
    """Takes what is to be done once the answer is out, or nobody waits for it any more."""
    record: Record


@dataclass(frozen=True, slots=True)
class Method:
    """One call of a service, by name, and the type of message it takes."""

    service: str
    name: str
    takes: Any

    @property
    def route(self) -> str:
        """The path of its requests."""
        return f"/{self.service}/{self.name}"

    def read(self, payload: bytes) -> Message:
        """The message; raises `BadTensor` when it is none."""
        try:
            message: Message = self.takes.FromString(payload)
        except DecodeError as error:
            raise BadTensor(f"the message is no {self.takes.DESCRIPTOR.name}: {error}") from error
        return message


Handler = Callable[[Any, Any], Awaitable[bytes]]

_OPEN_SECONDS = 10.0
"""For the message of a call without a token, which is a few bytes and comes with the call."""


def one_each(handler: Handler) -> grpc.RpcMethodHandler:
    """Of a call with one message each way. To gRPC its request is a stream, which is the same on the wire: gRPC would
    otherwise wait for the whole message, as long as that takes, before anybody is asked who sends it.
    """
    return grpc.stream_unary_rpc_method_handler(handler)


class Doorway:
    """Wraps what answers a call."""

    def __init__(
        self,
        doorman: Doorman,
        recorder: Recorder,
        closing: asyncio.Event,
        seconds: float = 300.0,
        read_seconds: float = FREE_SECONDS,
    ) -> None:
        """Once `closing` is set, calls that need a token are refused.

        `seconds`: that a message may take to come; `read_seconds`: that a caller may take for any answer.
        """
        self._doorman = doorman
        self.recorder = recorder
        self._closing = closing
        self._seconds = seconds
        self._read_seconds = read_seconds

    def open(self, method: Method, work: Callable[[Any], Awaitable[Message]]) -> Handler:
        """For anyone."""

        async def handle(_: Any, context: Any) -> bytes:
            async def whole(record: Record) -> bytes:
                request = method.read(await self.message(context, record))
                answer: bytes = (await work(request)).SerializeToString()
                return answer

            return await self.through(method, context, whole)

        return handle

    def closed(self, method: Method, scope: Scope, work: Callable[[Any, Call], Awaitable[Message]]) -> Handler:
        """For tokens of a scope; who may not ask learns nothing, and costs nothing: the message is not read."""

        async def handle(_: Any, context: Any) -> bytes:
            async def whole(record: Record) -> bytes:
                if self._closing.is_set():
                    raise Problem("unavailable", "this server is ending: call another", code="ending")
                call = await self.admit(scope, context, record, lambda act: context.add_done_callback(lambda _: act()))
                payload = await self.message(context, record, self._seconds)
                message = await work(await asyncio.to_thread(method.read, payload), call)
                return await asyncio.to_thread(message.SerializeToString)

            return await self.through(method, context, whole)

        return handle

    async def message(self, context: Any, record: Record, seconds: float = _OPEN_SECONDS) -> bytes:
        """The call's only message.

        Raises:
            Problem: it has not come whole within so many seconds; what came of it takes memory, and the call a place.
            BadTensor: there is none.
        """
        try:
            async with asyncio.timeout(seconds):
                payload = await context.read()
        except TimeoutError as error:
            raise Problem("request_timeout", f"the message has not come within {seconds:g} s; send it again") from error
        if payload is grpc.aio.EOF:
            raise BadTensor("the call has no message")
        record.bytes_in = len(payload)
        return bytes(payload)

    async def through(self, method: Method, context: Any, whole: Callable[[Record], Awaitable[bytes]]) -> bytes:
        """Do the `whole` of a call, recorded, its errors as statuses; returns what it has left to send."""
        with self.recorder.call(method.route, context.invocation_metadata()) as record:
            trailing = {"x-request-id": record.identity}
            try:
                answer = await whole(record)
            except grpc.aio.BaseError as error:
                # Nothing can be sent any more: the caller has left before gRPC has cancelled the call.
                raise asyncio.CancelledError from error
            except Exception as error:
                problem = problem_for(error, record)
                trailing |= {key.lower(): value for key, value in problem.headers.items()}
                detail = record.refused(problem, context.time_remaining())
                await context.abort(record.code, detail, tuple(trailing.items()))
                raise  # `abort` has raised
            context.set_trailing_metadata(tuple(trailing.items()))
            record.answered(len(answer))
            timer = self.expect_taken(context, len(answer), record)
            context.add_done_callback(lambda _: timer.cancel())
            return answer

    def expect_taken(self, context: Any, size: int, record: Record, patience: float = 1.0) -> asyncio.TimerHandle:
        """Cut off the caller unless an answer, which is sent from here on, is taken as fast as it had to be over HTTP,
        with `patience` some times as long to begin with; cancel it once the answer is out.
        """
        loop, peer = asyncio.get_running_loop(), context.peer()
        seconds = patience * self._read_seconds + size / SLOWEST

        def late() -> None:
            said = "request %s: its connection is cut: %d bytes of an answer were not taken in %.0f s"
            log.warning(said, record.identity, size, seconds)
            note(record.scope, cause="slow_reader")
            loop.run_in_executor(None, cut, peer)

        return loop.call_later(seconds, late)

    async def admit(self, scope: Scope, context: Any, record: Record, at_end: Callable[[Act], object]) -> Call:
        """Who calls; raises what `Doorman.admit` raises, and `Forbidden` for a token without the scope."""
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
        return Call(principal, host, left, at_end, record)


def problem_for(error: Exception, record: Record) -> Problem:
    """What an error says to a caller; one that nobody meant to be raised goes to the log."""
    problem = problem_of(error)
    if problem is not None:
        return problem
    log.error("request %s failed: %s", record.identity, record.scope["path"], exc_info=error)
    return Problem("internal", f"something broke here; the log has it under request id {record.identity}")


def host_of(peer: str) -> str:
    """The address in gRPC's name of the other end: `ipv4:127.0.0.1:5000`, `ipv6:%5B::1%5D:5000`, `unix:`."""
    kind, _, place = unquote(peer).partition(":")
    return place.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""
