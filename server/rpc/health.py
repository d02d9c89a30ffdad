"""`grpc.health.v1.Health`: what Kubernetes' probes and load balancers ask, without a token."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from server.http.problems import Problem
from server.rpc.doorway import Doorway, Method, one_each
from server.rpc.record import Record
from server.rpc.streams import SERVICE as INFERENCE

SERVICE = "grpc.health.v1.Health"
UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN = range(4)
_SERVICES = frozenset({"", INFERENCE})
"""Both are ready together; "" is the server as a whole."""
_LOOK_SECONDS = 5.0
"""Those who watch learn of a change within this. A look sends a picture through every model, so it is one for all."""
_MOST_WATCHES = 64


def _messages() -> tuple[Any, Any]:
    """The two messages, in a pool of their own: the package that has them too may be imported beside this."""
    fields = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="health.proto", package="grpc.health.v1", syntax="proto3")
    asked = file.message_type.add(name="HealthCheckRequest")
    asked.field.add(name="service", number=1, type=fields.TYPE_STRING, label=fields.LABEL_OPTIONAL)
    told = file.message_type.add(name="HealthCheckResponse")
    states = told.enum_type.add(name="ServingStatus")
    for number, name in enumerate(("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")):
        states.value.add(name=name, number=number)
    kind = ".grpc.health.v1.HealthCheckResponse.ServingStatus"
    told.field.add(name="status", number=1, type=fields.TYPE_ENUM, label=fields.LABEL_OPTIONAL, type_name=kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = (pool.FindMessageTypeByName(f"grpc.health.v1.{message.name}") for message in (asked, told))
    request, response = (message_factory.GetMessageClass(descriptor) for descriptor in found)
    return request, response


HealthCheckRequest, HealthCheckResponse = _messages()


class Health:
    """Says whether the service is ready, once or whenever that changes, until it closes."""

    most = _MOST_WATCHES
    """Callers who may watch at once."""

    def __init__(
        self, ready: Callable[[], Awaitable[bool]], closing: asyncio.Event, look_seconds: float = _LOOK_SECONDS
    ) -> None:
        self._ready = ready
        self._closing = closing
        self._look_seconds = look_seconds
        self._looking = asyncio.Lock()
        self._seen, self._looked_at = NOT_SERVING, float("-inf")
        self._watching = 0

    def handlers(self, doorway: Doorway) -> grpc.GenericRpcHandler:
        """Both calls."""
        check, watch = (Method(SERVICE, name, HealthCheckRequest) for name in ("Check", "Watch"))

        async def watching(_: Any, context: Any) -> None:
            async def whole(record: Record) -> bytes:
                return await self._watch(watch.read(await doorway.message(context, record)), context.write)

            await doorway.through(watch, context, whole)

        methods = {
            "Check": one_each(doorway.open(check, self._check)),
            "Watch": grpc.stream_stream_rpc_method_handler(watching),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def _check(self, request: Any) -> Any:
        if request.service not in _SERVICES:
            raise Problem("not_found", f"no service {request.service[:200]!r} is here: ask for {INFERENCE!r} or ''")
        ready = not self._closing.is_set() and await self._ready()
        return HealthCheckResponse(status=SERVING if ready else NOT_SERVING)

    async def _watch(self, request: Any, write: Callable[[bytes], Awaitable[None]]) -> bytes:
        """An unknown service is said to be unknown, and watched on: so the protocol wants it."""
        if self._watching >= self.most:
            raise Problem("too_many_requests", f"{self._watching} watch already: use Check")
        self._watching += 1
        told = UNKNOWN
        try:
            while not self._closing.is_set():
                now = await self._look() if request.service in _SERVICES else SERVICE_UNKNOWN
                if now != told:
                    told = now
                    await write(HealthCheckResponse(status=now).SerializeToString())
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), self._look_seconds)
            if told == SERVING:
                await write(HealthCheckResponse(status=NOT_SERVING).SerializeToString())
        finally:
            self._watching -= 1
        raise Problem("unavailable", "this server is ending")

    async def _look(self) -> int:
        """How things stand, at most one look old."""
        async with self._looking:
            if time.monotonic() - self._looked_at >= self._look_seconds:
                self._seen = SERVING if await self._ready() else NOT_SERVING
                self._looked_at = time.monotonic()
            return NOT_SERVING if self._closing.is_set() else self._seen
