"""From a request to an answer: admit, choose the model, work on every image, and account for what the answer holds.

Runs on one event loop; what takes time runs in threads. `job` has the way of one request's images.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from detco_core.contract.errors import BundleError, Fault, InvalidDocument
from server.features.admission import Admission, ReplyBytes, Reservation
from server.features.batcher import Computed
from server.features.errors import DeadlineExceeded, OtherWeights, UnknownLevel
from server.features.job import EngineLimits, Job
from server.features.loaded import Loaded
from server.features.models import Models
from server.features.schemas import FeatureReply, FeatureRequest

_HANGING = 60.0
"""Seconds one image may take before its model counts as hanging."""


class Listener(Protocol):
    """Told how every request ended; must not block."""

    def answered(self, reply: FeatureReply) -> None: ...

    def not_answered(self, error: Exception) -> None: ...


class FeatureEngine:
    """Answers requests for features; between `start` and `close`."""

    def __init__(self, models: Models, limits: EngineLimits, listener: Listener | None = None) -> None:
        self.models = models
        self._listener = listener
        self.limits = limits
        self.admission = Admission(limits.under_way)
        self.memory = ReplyBytes(limits.held_bytes)
        self._threads = ThreadPoolExecutor(limits.decoders, "decode")

    def start(self) -> None:
        """Begin to load models; returns at once."""
        self.models.start()

    def close(self) -> None:
        """Let what is under way finish; blocks."""
        self._threads.shutdown()
        self.models.close()

    async def infer(self, request: FeatureRequest) -> FeatureReply:
        """Answer one request; cancel it to leave. Call `release` of the reply once it is sent.

        Raises:
            InvalidDocument: boxes that do not go with the images, or too many.
            FeatureError: see `server.features.errors`.
            ImageError: the request's only image cannot be turned into features.
            control.errors.Forbidden: the token is not for this model.
        """
        try:
            reply = await self._in_time(request)
        except Exception as error:
            if self._listener is not None:
                self._listener.not_answered(error)
            raise
        if self._listener is not None:
            self._listener.answered(reply)
        return reply

    async def probe(self, seconds: float) -> list[str]:
        """Send a picture through every loaded model; returns what is wrong, nothing when all is well."""
        deadline = time.monotonic() + seconds
        checks = {model: asyncio.wrap_future(model.probe(deadline)) for model in self.models.loaded()}
        if checks:
            await asyncio.wait(checks.values(), timeout=seconds)
        return [f"{m.version} {wrong}" for m, check in checks.items() if (wrong := _wrong(m, check)) is not None]

    async def _in_time(self, request: FeatureRequest) -> FeatureReply:
        check_boxes(request, self.limits.boxes)
        arrived = time.monotonic()
        seconds = request.options.timeout_ms / 1000
        try:
            with self.admission.enter(len(request.images)):
                async with asyncio.timeout(seconds):
                    return await self._answer(request, arrived, arrived + seconds)
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer within timeout_ms={request.options.timeout_ms}") from error

    async def _answer(self, request: FeatureRequest, arrived: float, deadline: float) -> FeatureReply:
        async with self.models.lease(request.options.model, request.only_models) as loaded:
            _check(loaded, request)
            memory = Reservation(self.memory)
            try:
                images = await Job(loaded, request, self.limits, memory, self._threads, deadline).run()
            except BaseException:
                memory.release()
                raise
            return FeatureReply(loaded.identity, images, time.monotonic() - arrived, memory.release)


def check_boxes(request: FeatureRequest, most: int) -> None:
    """Raise `InvalidDocument` unless there is one list of boxes an image, and not more boxes than `most` in all."""
    boxes, images = request.options.boxes, len(request.images)
    if boxes is None:
        return
    if len(boxes) != images:
        why = f"holds the boxes of {len(boxes)} images, the request has {images}: give one list an image"
        raise InvalidDocument("request", (Fault("boxes", why),))
    if (count := sum(map(len, boxes))) > most:
        raise InvalidDocument(
            "request", (Fault("boxes", f"holds {count} boxes; at most {most} are taken: send several"),)
        )


def _check(loaded: Loaded, request: FeatureRequest) -> None:
    """What can be refused before any image is looked at."""
    expected, digest = request.options.expect_digest, loaded.version.digest
    if expected is not None and expected != digest:
        raise OtherWeights(f"{loaded.version} has the weights {digest}, the request expects {expected[:100]}")
    try:
        request.selection.levels_of(loaded.manifest)
    except BundleError as error:
        raise UnknownLevel(str(error)) from error


def _wrong(loaded: Loaded, check: "asyncio.Future[Computed]") -> str | None:
    """What is wrong with a model; one that is at work on others' images is not hanging."""
    if check.done() and not check.cancelled() and not isinstance(check.exception(), DeadlineExceeded):
        return None if check.exception() is None else f"fails: {check.exception()}"
    check.cancel()
    at_work = loaded.owner.at_work
    return None if at_work is not None and at_work < _HANGING else "does not answer"
