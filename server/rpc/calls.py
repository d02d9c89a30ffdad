"""The protocol's calls over gRPC, each the same as its route of `/v2`. What is not listed is UNIMPLEMENTED."""

import asyncio
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import service_pb2 as wire

from server.features.oip.service import OpenInference
from server.features.oip.targets import Target
from server.http.access import note, note_reply
from server.http.deps import Services, caller_of
from server.http.open_inference import LOAD_SECONDS, refuse_configuration, require_ready
from server.http.problems import Problem
from server.rpc.doorway import Call, Doorway
from server.rpc.messages import read_infer, write_infer

SERVICE = "inference.GRPCInferenceService"


class Calls:
    """Answers them; messages in and out."""

    def __init__(self, services: Services, protocol: OpenInference) -> None:
        self._services = services
        self._protocol = protocol

    def handlers(self, doorway: Doorway) -> grpc.GenericRpcHandler:
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
        handlers = {name: doorway.open(name, work) for name, work in opened.items()}
        handlers |= {name: doorway.closed(name, "features", work) for name, work in features.items()}
        handlers |= {name: doorway.closed(name, "admin", work) for name, work in admin.items()}
        methods = {name: grpc.unary_unary_rpc_method_handler(handler) for name, handler in handlers.items()}
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def live(self, request: Any) -> wire.ServerLiveResponse:
        return wire.ServerLiveResponse(live=True)

    async def ready(self, request: Any) -> wire.ServerReadyResponse:
        try:
            await require_ready(self._services)
        except Problem:
            return wire.ServerReadyResponse(ready=False)
        return wire.ServerReadyResponse(ready=True)

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

    async def infer(self, request: Any, call: Call) -> wire.ModelInferResponse:
        target = self._protocol.target(request.model_name, request.model_version or None)
        caller, memory = caller_of(call.principal), self._protocol.neighbour(call.host)
        self._protocol.check(caller)
        asked = await asyncio.to_thread(read_infer, request, memory.read, call.seconds)
        request.Clear()
        inferred, reply = await self._protocol.infer(target, asked, call.principal.models, caller)
        call.at_end(reply.release)
        note(call.record.scope, images=len(reply.images))
        note_reply(call.record.scope, reply)
        return await asyncio.to_thread(write_infer, asked, inferred, memory.write)

    async def index(self, request: Any, call: Call) -> wire.RepositoryIndexResponse:
        found = self._protocol.repository.index(call.principal.models, ready=request.ready)
        return ParseDict({"models": found}, wire.RepositoryIndexResponse())

    async def load(self, request: Any, call: Call) -> wire.RepositoryModelLoadResponse:
        refuse_configuration(request.parameters)
        target = self._protocol.target(request.model_name)
        await asyncio.to_thread(self._protocol.repository.load, target, LOAD_SECONDS)
        return wire.RepositoryModelLoadResponse()

    async def unload(self, request: Any, call: Call) -> wire.RepositoryModelUnloadResponse:
        target = self._protocol.target(request.model_name)
        await asyncio.to_thread(self._protocol.repository.unload, target)
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
