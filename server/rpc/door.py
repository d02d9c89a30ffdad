"""The gRPC server itself: its port, its bounds, and its end."""

import asyncio
import logging
import time

import grpc

from server.features.oip.service import OpenInference
from server.http.access import AccessLog
from server.http.answers.tensors import FREE_SECONDS, SLOWEST
from server.http.deps import Services
from server.http.middleware.tracing import Tracing
from server.http.open_inference import is_ready
from server.rpc.calls import Calls
from server.rpc.doorway import Doorway
from server.rpc.health import Health
from server.rpc.record import Recorder
from server.rpc.streams import InferStreams

log = logging.getLogger(__name__)

_DRAIN_SECONDS = 8.0
"""Calls under way may take this long to end once those over HTTP have; both, and the rest, within 30 s."""
_REFUSAL_SECONDS = 1.0
"""Calls that were on their way are taken for this long, to be refused: gRPC itself would cancel them, and no client
sends again what was cancelled."""
_PAUSE_SECONDS = 0.05
_ENVELOPE_BYTES = 2**20
"""Of a message beside its tensors."""
_CALLS_AN_IMAGE = 4
"""Calls at once for each image that may be under way; more are refused before their message is read."""
_ALIVE = (("grpc.keepalive_time_ms", 60_000), ("grpc.keepalive_timeout_ms", 20_000))
"""A stream whose caller's host is gone ends, though neither has anything to say."""


class GrpcDoor:
    """Listens on `DETCO_HOST` and `DETCO_GRPC_PORT`, between `start` and `stop`."""

    def __init__(self, services: Services, protocol: OpenInference, access: AccessLog, tracing: Tracing) -> None:
        self._services = services
        self._recorder = Recorder(services.telemetry, access, tracing)
        self._calls = Calls(services, protocol)
        self._closing = asyncio.Event()
        self._health = Health(lambda: is_ready(services), self._closing)
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Begin to answer; raises `OSError` when the port is taken."""
        settings, features = self._services.settings, self._services.features
        assert features is not None  # noqa: S101 - as `open_door` sees to
        options = (
            # Measured after decompression: a message that unfolds without end ends here.
            ("grpc.max_receive_message_length", settings.max_request_bytes + _ENVELOPE_BYTES),
            ("grpc.max_send_message_length", features.limits.reply_bytes + _ENVELOPE_BYTES),
            ("grpc.so_reuseport", 0),
            *_ALIVE,
        )
        streams = InferStreams(features.limits.under_way, self._closing)
        most = _CALLS_AN_IMAGE * features.limits.under_way + streams.most + self._health.most
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=most)
        # As slowly as an answer of that size may be read over HTTP.
        seconds = FREE_SECONDS + settings.max_request_bytes / SLOWEST
        doorway = Doorway(self._services.doorman, self._recorder, self._closing, seconds)
        server.add_generic_rpc_handlers((self._calls.handlers(doorway, streams), self._health.handlers(doorway)))
        address = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            port = server.add_insecure_port(f"{address}:{settings.grpc_port}")
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}:{settings.grpc_port} for gRPC: {error}") from error
        await server.start()
        self._server = server
        log.info("gRPC on %s:%d", address, port)

    async def stop(self) -> None:
        """Take no more calls, tell who watches, let what is under way end, then cut it off."""
        self._closing.set()
        if self._server is not None:
            until = time.monotonic() + _REFUSAL_SECONDS
            while self._recorder.under_way and time.monotonic() < until:
                await asyncio.sleep(_PAUSE_SECONDS)
            await self._server.stop(_DRAIN_SECONDS)
