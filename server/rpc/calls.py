"""The protocol's calls over gRPC, each the same as its route of `/v2`. What is not listed is UNIMPLEMENTED."""

import asyncio
from typing import Any

import grpc
from fastapi.concurrency import run_in_threadpool
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import service_pb2 as wire

from control.records.access.principals import Principal
from server.features.oip.replies import copied, sent
from server.features.oip.service import OpenInference
from server.features.oip.targets import Target
from server.http.access import note, note_reply
from server.http.deps import Services, caller_of
from server.http.open_inference import LOAD_SECONDS, is_ready, refuse_configuration
from server.rpc.doorway import Call, Doorway, Method, one_each
from server.rpc.messages import read_infer, write_infer
from server.rpc.streams import SERVICE, InferStreams


class Calls:
    """Answers them; messages in and out."""

    def __init__(self, services: Services, protocol: OpenInference) -> None:
        self._services = services
        self._protocol = protocol

    def handlers(self, doorway: Doorway, streams: InferStreams) -> grpc.GenericRpcHandler:
        """All of them, by name."""
        opened = {"ServerLive": self.live, "ServerReady": self.ready}
        features = {
            "ServerMetadata": self.server,
            "ModelReady": self.model_ready,
            "ModelMetadata": self.metadata,
            "ModelConfig": self.config,
            "ModelStatistics": self.statistics,
            "ModelInfer": self.infer,
            "RepositoryIndex": self.index,
            "SystemSharedMemoryStatus": self.region_status,
            "SystemSharedMemoryRegister": self.register,
            "SystemSharedMemoryUnregister": self.unregister,
        }
        admin = {"RepositoryModelLoad": self.load, "RepositoryModelUnload": self.unload}
        handlers = {name: doorway.open(_method(name), work) for name, work in opened.items()}
        handlers |= {name: doorway.closed(_method(name), "features", work) for name, work in features.items()}
        handlers |= {name: doorway.closed(_method(name), "admin", work) for name, work in admin.items()}
        methods = {name: one_each(handler) for name, handler in handlers.items()}
        methods["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(streams.handler(doorway, self))
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def live(self, request: Any) -> wire.ServerLiveResponse:
        return wire.ServerLiveResponse(live=True)

    async def ready(self, request: Any) -> wire.ServerReadyResponse:
        return wire.ServerReadyResponse(ready=await is_ready(self._services))

    async def server(self, request: Any, call: Call) -> wire.ServerMetadataResponse:
        return wire.ServerMetadataResponse(**self._protocol.metadata_of_server())

    async def model_ready(self, request: Any, call: Call) -> wire.ModelReadyResponse:
        ready = self._protocol.repository.is_ready(self._target(request), call.principal.models)
        return wire.ModelReadyResponse(ready=ready)

    async def metadata(self, request: Any, call: Call) -> wire.ModelMetadataResponse:
        return ParseDict(
            await self._protocol.metadata(self._target(request), call.principal.models), wire.ModelMetadataResponse()
        )

    async def config(self, request: Any, call: Call) -> wire.ModelConfigResponse:
        found = await self._protocol.config(self._target(request), call.principal.models)
        return ParseDict({"config": found}, wire.ModelConfigResponse())

    async def statistics(self, request: Any, call: Call) -> wire.ModelStatisticsResponse:
        only = call.principal.models
        if request.name:
            found = [await self._protocol.statistics_of(self._target(request), only)]
        else:
            found = await self._protocol.all_statistics(only)
        return ParseDict({"model_stats": found}, wire.ModelStatisticsResponse())

    def at_once(self, principal: Principal) -> int:
        """Pictures that a token may have under way, sent one by one."""
        features = self._services.features
        assert features is not None  # noqa: S101 - as `open_door` sees to
        most = features.allowances.most_images(caller_of(principal))
        return features.limits.under_way if most is None else min(most, features.limits.under_way)

    async def infer(self, request: Any, call: Call, into: Any = None) -> wire.ModelInferResponse:
        """The answer, in the message `into`, or in a new one."""
        target = self._protocol.target(request.model_name, request.model_version or None)
        caller, memory = caller_of(call.principal), self._protocol.neighbour(call.host)
        self._protocol.check(caller)
        asked = await asyncio.to_thread(read_infer, request, memory.read, call.seconds)
        request.Clear()
        inferred, reply = await self._protocol.infer(target, asked, call.principal.models, caller)
        call.at_end(reply.release)
        note(call.record.scope, images=len(reply.images))
        note_reply(call.record.scope, reply)
        message, raw = wire.ModelInferResponse() if into is None else into, sent(asked, inferred)
        # The outputs again in the message, and at worst all of them on their way into it.
        reply.memory.take(copied(asked, inferred) + 2 * raw)
        await asyncio.to_thread(write_infer, message, asked, inferred, memory.write)
        # The arrays are of no use any more; the message becomes bytes, and gRPC copies those.
        reply.memory.settle(2 * raw)
        return message

    async def index(self, request: Any, call: Call) -> wire.RepositoryIndexResponse:
        found = self._protocol.repository.index(call.principal.models, ready=request.ready)
        return ParseDict({"models": found}, wire.RepositoryIndexResponse())

    async def load(self, request: Any, call: Call) -> wire.RepositoryModelLoadResponse:
        refuse_configuration(request.parameters)
        target = self._protocol.target(request.model_name)
        await run_in_threadpool(self._protocol.repository.load, target, LOAD_SECONDS)
        return wire.RepositoryModelLoadResponse()

    async def unload(self, request: Any, call: Call) -> wire.RepositoryModelUnloadResponse:
        target = self._protocol.target(request.model_name)
        await run_in_threadpool(self._protocol.repository.unload, target)
        return wire.RepositoryModelUnloadResponse()

    async def region_status(self, request: Any, call: Call) -> wire.SystemSharedMemoryStatusResponse:
        found = self._protocol.neighbour(call.host).regions.status(request.name or None)
        by_name = {str(region["name"]): region for region in found}
        return ParseDict({"regions": by_name}, wire.SystemSharedMemoryStatusResponse())

    async def register(self, request: Any, call: Call) -> wire.SystemSharedMemoryRegisterResponse:
        regions = self._protocol.neighbour(call.host).regions
        regions.register(request.name, request.key, request.offset, request.byte_size)
        return wire.SystemSharedMemoryRegisterResponse()

    async def unregister(self, request: Any, call: Call) -> wire.SystemSharedMemoryUnregisterResponse:
        self._protocol.neighbour(call.host).regions.unregister(request.name or None)
        return wire.SystemSharedMemoryUnregisterResponse()

    def _target(self, request: Any) -> Target:
        return self._protocol.target(request.name, request.version or None)


def _method(name: str) -> Method:
    return Method(SERVICE, name, getattr(wire, f"{name}Request"))
