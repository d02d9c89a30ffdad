"""Inference over one stream: requests one after the other, answers in their order, several under way meanwhile.

As Triton serves a model that gives one response to each request. What is wrong with a request is said in the answer to
it, and the stream goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Protocol

import grpc
from tritonclient.grpc import service_pb2 as wire

from control.errors import ControlError
from control.records.access.principals import Principal
from server.features.errors import FeatureError
from server.http.access import note
from server.http.problems import Problem
from server.rpc.doorway import Act, Call, Doorway, Method, problem_for
from server.rpc.record import Record

SERVICE = "inference.GRPCInferenceService"
AHEAD = 8
"""Requests of one stream under way, from when they are read until their answers are taken; the next waits unread."""
_PATIENCE = 10.0
"""Times as long as for another answer: who reads a stream may have something to do between two answers."""
_METHOD = Method(SERVICE, "ModelStreamInfer", wire.ModelInferRequest)


class Infers(Protocol):
    """What computes the answers."""

    def at_once(self, principal: Principal) -> int: ...

    async def infer(self, request: Any, call: Call, into: Any = None) -> Any: ...


class InferStreams:
    """Bounds how many there are, and ends them with the service."""

    def __init__(self, most: int, closing: asyncio.Event) -> None:
        self.most = most
        self._closing = closing
        self._open = 0

    def handler(self, doorway: Doorway, infers: Infers) -> Callable[[Any, Any], Awaitable[None]]:
        """For tokens of the scope `features`."""

        async def handle(requests: Any, context: Any) -> None:
            async def whole(record: Record) -> bytes:
                call = await doorway.admit("features", context, record, _nothing)
                most = max(1, min(AHEAD, infers.at_once(call.principal)))
                await _Stream(doorway, infers, context, record, most).serve(self._closing)
                return b""

            await doorway.through(_METHOD, context, self._counted(whole))

        return handle

    def _counted(self, whole: Callable[[Record], Awaitable[bytes]]) -> Callable[[Record], Awaitable[bytes]]:
        async def counted(record: Record) -> bytes:
            if self._open >= self.most:
                raise Problem("too_many_requests", f"{self._open} streams are open, as many as there may be")
            self._open += 1
            try:
                return await whole(record)
            finally:
                self._open -= 1

        return counted


def _nothing(act: Act) -> None:
    """A stream keeps nothing until its end; its requests do until theirs."""


class _Stream:
    def __init__(self, doorway: Doorway, infers: Infers, context: Any, record: Record, most: int) -> None:
        self._doorway = doorway
        self._infers = infers
        self._context = context
        self._record = record
        self._room = asyncio.Semaphore(most)
        self._count = 0
        self._handling: asyncio.Task[Any] | None = None

    async def serve(self, closing: asyncio.Event) -> None:
        """Returns when every request is answered and the caller has no more; cancelled, nothing more is computed.

        Raises:
            ControlError, FeatureError, Problem: the token is no longer good, the caller's deadline has passed, or the
                service ends; what was read is answered.
        """
        self._handling = asyncio.current_task()
        refusal: Exception | None = None
        async with asyncio.TaskGroup() as group:
            ending = group.create_task(closing.wait())
            turn = asyncio.Event()
            turn.set()
            try:
                while (payload := await self._next(ending)) is not None:
                    # Remembered for half a minute, so that a revoked token ends its streams too.
                    call = await self._doorway.admit("features", self._context, self._record, _nothing)
                    mine, turn = turn, asyncio.Event()
                    group.create_task(self._one(payload, call, mine, turn))
            except (ControlError, FeatureError, Problem) as error:
                refusal = error
            ending.cancel()
        if refusal is not None:
            raise refusal

    async def _next(self, ending: "asyncio.Task[Any]") -> bytes | None:
        """The next request, once there is room for it; None after the last."""
        await _before(ending, self._room.acquire())
        payload = await _before(ending, self._context.read())
        return None if payload is grpc.aio.EOF else payload

    async def _one(self, payload: bytes, call: Call, turn: asyncio.Event, done: asyncio.Event) -> None:
        """Answer a request when it is its turn."""
        self._count += 1
        identity = f"{self._record.identity[:100]}.{self._count}"
        metadata, route = self._context.invocation_metadata(), f"{_METHOD.route}/request"
        with self._doorway.recorder.call(route, metadata, len(payload), identity) as record, ExitStack() as at_end:
            note(record.scope, token=call.principal.token_id)
            left = self._context.time_remaining()
            mine = replace(call, seconds=left, at_end=at_end.callback, record=record)
            answer = await self._answer(payload, mine)
            await turn.wait()
            await self._send(answer, record)
            record.bytes_out = len(answer)
            if record.code is grpc.StatusCode.CANCELLED:  # as it begins: nothing was wrong
                record.answered(0)
        self._record.bytes_in += len(payload)
        self._record.bytes_out += len(answer)
        done.set()
        self._room.release()

    async def _send(self, answer: bytes, record: Record) -> None:
        timer = self._doorway.expect_taken(self._context, len(answer), record, _PATIENCE)
        try:
            await self._context.write(answer)
        except grpc.aio.BaseError as error:
            # The caller has left, before gRPC has cancelled the call for it.
            if self._handling is not None:
                self._handling.cancel()
            raise asyncio.CancelledError from error
        finally:
            timer.cancel()

    async def _answer(self, payload: bytes, call: Call) -> bytes:
        message, identity = wire.ModelStreamInferResponse(), ""
        try:
            request: Any = await asyncio.to_thread(_METHOD.read, payload)
            identity = request.id
            await self._infers.infer(request, call, message.infer_response)
            answer: bytes = await asyncio.to_thread(message.SerializeToString)
        except Exception as error:  # noqa: BLE001 - told to the caller, and logged where nobody meant it
            text = call.record.refused(problem_for(error, call.record), self._context.time_remaining())
            message = wire.ModelStreamInferResponse(error_message=text)
            # So that the caller knows which of its requests it was.
            message.infer_response.id = identity
            answer = message.SerializeToString()
        return answer


async def _before(ending: "asyncio.Task[Any]", wanted: Any) -> Any:
    """What is `wanted`; raises `Problem` when the end comes first."""
    task = asyncio.ensure_future(wanted)
    try:
        await asyncio.wait((task, ending), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Problem("unavailable", "this server is ending: open another stream elsewhere")
    finally:
        task.cancel()
