"""The protocol's calls, whatever carries them: models and what they take, inference, statistics."""

import asyncio
import time
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from detco_core import __version__
from detco_core.contract.errors import ImageError
from server.features.allowances import Caller
from server.features.engine import FeatureEngine
from server.features.errors import FeatureError
from server.features.oip import description
from server.features.oip.asking import asked_of
from server.features.oip.inferred import Inferred, overflow, stack
from server.features.oip.neighbours import Neighbour
from server.features.oip.repository import Repository
from server.features.oip.requests import InferRequest
from server.features.oip.shared_memory import SharedMemory
from server.features.oip.statistics import Statistics
from server.features.oip.targets import Target, read_target
from server.features.schemas import FeatureReply

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
)


class OpenInference:
    """The models of an engine, by the protocol's names."""

    def __init__(self, engine: FeatureEngine, regions: SharedMemory | None = None) -> None:
        """`regions`: None where clients may not share memory."""
        self._engine = engine
        self.repository = Repository(engine.models)
        self._regions = regions
        self.statistics = Statistics()

    def neighbour(self, host: str) -> Neighbour:
        """Shared memory as a caller of this address may use it."""
        return Neighbour(self._regions, host)

    def metadata_of_server(self) -> dict[str, Any]:
        """What this is and which extensions of the protocol it has."""
        extensions = [*EXTENSIONS, *(["system_shared_memory"] if self._regions is not None else [])]
        return {"name": "detco", "version": __version__, "extensions": extensions}

    def target(self, name: str, version: str | None = None) -> Target:
        """What a path names; raises `UnknownModel`."""
        return read_target(name, version, self.repository.served())

    async def metadata(self, target: Target, only: Collection[str] | None) -> dict[str, Any]:
        """Inputs and outputs of a model; -1 is any size."""
        async with self._engine.models.lease(target.selector, only) as loaded:
            return description.metadata(target, loaded)

    async def config(self, target: Target, only: Collection[str] | None) -> dict[str, Any]:
        """The same in Triton's form."""
        async with self._engine.models.lease(target.selector, only) as loaded:
            return description.config(target, loaded)

    async def statistics_of(self, target: Target, only: Collection[str] | None) -> dict[str, Any]:
        """How often the version that would answer was asked, as the protocol's statistics."""
        async with self._engine.models.lease(target.selector, only) as loaded:
            return self.statistics.of(target.name, loaded.version.number)

    async def all_statistics(self, only: Collection[str] | None) -> list[dict[str, Any]]:
        """Of every version that the alias `production` names."""
        names = [entry["name"] for entry in self.repository.index(only, ready=True)]
        return [await self.statistics_of(self.target(name), only) for name in names]

    def check(self, caller: Caller) -> None:
        """Raise `Overloaded` when not a single picture would be let in: before a body is even read."""
        self._engine.check(caller)

    async def infer(
        self, target: Target, request: InferRequest, only: Collection[str] | None, caller: Caller | None = None
    ) -> tuple[Inferred, FeatureReply]:
        """Run a model; call `release` of the second once the answer is sent.

        Raises:
            BadTensor: inputs or outputs are not the model's.
            FeatureError, control.errors.Forbidden: as of the engine.
        """
        began = time.monotonic()
        async with self._engine.models.lease(target.selector, only) as loaded:
            number = loaded.version.number
            try:
                asked = await asyncio.to_thread(asked_of, target, request, loaded, only)
                reply = await self._engine.infer(replace(asked, caller=caller))
                try:
                    if len(reply.images) > 1:
                        # Each picture's arrays, and those of all of them together.
                        reply.memory.hold(2 * reply.memory.bytes)
                    arrays = await asyncio.to_thread(stack, reply)
                except BaseException:
                    reply.release()
                    raise
            except (FeatureError, ImageError):
                self.statistics.failed(target.name, number, time.monotonic() - began)
                raise
        self.statistics.succeeded(target.name, number, reply.images, time.monotonic() - began)
        facts: dict[str, Any] = {
            "digest": reply.model.digest,
            "provider": reply.model.provider,
            "precision": reply.model.precision,
        }
        facts |= {"cached": True} if reply.cached == len(reply.images) else {}
        int8 = request.parameters.get("dtype") == "int8"
        return Inferred(target.name, number, arrays, facts, overflow(reply), int8), reply
