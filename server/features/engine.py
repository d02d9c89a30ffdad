"""From a request to an answer: admit, choose the model, work on every image, and account for what the answer holds.

Runs on one event loop; what takes time runs in threads. `job` has the way of one request's images.
"""

import asyncio
import math
import time
from collections.abc import Iterable
from functools import partial
from typing import Protocol

from detco_core.inference.pictures.images import stored_pixels
from server.features.admission import Admission, Ticket
from server.features.allowances import Allowances, Caller
from server.features.decoders import Decoders
from server.features.errors import DeadlineExceeded, Shed
from server.features.heap import Heap
from server.features.job import Job
from server.features.limits import EngineLimits
from server.features.models.serving import Models
from server.features.options import Priority
from server.features.probe import Probe
from server.features.refusals import check_boxes, check_count, check_model
from server.features.reply_memory import ReplyBytes, Reservation
from server.features.results import Results
from server.features.schemas import FeatureReply, FeatureRequest, ImageReply


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
        self.admission = Admission(limits.under_way, limits.bulk)
        self.allowances = Allowances(limits.images_per_token, limits.pixels_per_token)
        self.memory = ReplyBytes(limits.held_bytes)
        self.results = Results(limits.result_bytes) if limits.result_bytes else None
        self._threads = Decoders(limits.decoders)
        self._probing: asyncio.Future[list[str]] | None = None
        # A model that was just opened counts too: warming it frees as much as an image does. So does an answer that was
        # read at last, long after its image was computed.
        self._heap = Heap(lambda: self.memory.returned + sum(1 + model.owner.computed for model in models.loaded()))

    def start(self) -> None:
        """Begin to load models; returns at once."""
        self.models.start()
        self._heap.start()

    def close(self) -> None:
        """Let what is under way finish; blocks."""
        self._threads.shutdown()
        self.models.close()
        self._heap.close()

    def check(self, caller: Caller | None = None, priority: Priority = "interactive") -> None:
        """Raise `Overloaded` when not a single image would be let in: before a body is even read."""
        try:
            self.allowances.check(caller)
            self.admission.check(bulk=priority == "bulk")
        except Exception as error:
            self._tell(error)
            raise

    async def infer(self, request: FeatureRequest) -> FeatureReply:
        """Answer one request; cancel it to leave. Call `release` of the reply once it is sent.

        Raises:
            InvalidDocument: boxes that do not go with the images, or too many of either.
            FeatureError: see `server.features.errors`.
            ImageError: the request's only image cannot be turned into features.
            control.errors.Forbidden: the token is not for this model.
        """
        try:
            reply = await self._in_time(request)
        except Exception as error:
            self._tell(error)
            raise
        if self._listener is not None:
            # Once the answer is on its way: its caller need not wait for that.
            asyncio.get_running_loop().call_soon(self._listener.answered, reply)
        return reply

    async def probe(self, seconds: float) -> list[str]:
        """Send a picture through every loaded model, from its file to its features; returns what is wrong, nothing when
        all is well. However many ask at once, one picture is sent: it needs no token.
        """
        if self._probing is None or self._probing.done():
            self._probing = asyncio.ensure_future(self._probe(seconds))
        return await asyncio.shield(self._probing)

    async def _probe(self, seconds: float) -> list[str]:
        probes = [Probe(model, self.limits, self._threads, seconds) for model in self.models.loaded()]
        found = await asyncio.gather(*(probe.run() for probe in probes))
        return [f"{probe.version} {wrong}" for probe, wrong in zip(probes, found, strict=True) if wrong is not None]

    def _tell(self, error: Exception) -> None:
        if self._listener is not None:
            self._listener.not_answered(error)

    async def _in_time(self, request: FeatureRequest) -> FeatureReply:
        check_boxes(request, self.limits.boxes)
        count, bulk, caller = len(request.images), request.options.priority == "bulk", request.caller
        check_count(count, self.limits.images, self.allowances.most_images(caller))
        seconds = request.options.timeout_ms / 1000
        with self.allowances.enter(caller, count), self.admission.enter(count, bulk=bulk, seconds=seconds) as ticket:
            try:
                async with asyncio.timeout(seconds) as limit:
                    ticket.end = partial(_expire, limit)
                    return await self._answer(request, ticket)
            except TimeoutError as error:
                if ticket.is_shed:
                    message = "this bulk request gave its place to interactive ones"
                    raise Shed(message, self.admission.retry_after()) from error
                raise DeadlineExceeded(f"no answer within timeout_ms={request.options.timeout_ms}") from error

    async def _answer(self, request: FeatureRequest, ticket: Ticket) -> FeatureReply:
        arrived = time.monotonic()
        await self._charge(request)
        async with self.models.lease(request.options.model, request.only_models) as loaded:
            check_model(request, loaded)
            memory = Reservation(self.memory)
            deadline = arrived + request.options.timeout_ms / 1000
            job = Job(loaded, request, self.limits, memory, self._threads, deadline, ticket, self.results)
            try:
                images = await job.run()
            except BaseException:
                memory.release()
                raise
            self.allowances.charge(request.caller, _enlarged(images))
            return FeatureReply(loaded.identity, images, time.monotonic() - arrived, memory)

    async def _charge(self, request: FeatureRequest) -> None:
        """Note the request's pixels where its caller's are bounded; raises `OverLimit` when they are used up by now."""
        if self.allowances.measures(request.caller):
            pixels = await asyncio.get_running_loop().run_in_executor(self._threads, _pixels, request)
            self.allowances.check(request.caller, 0)
            self.allowances.charge(request.caller, pixels)


def _expire(limit: asyncio.Timeout) -> bool:
    """Have the time of a request end now; False when it has already."""
    if limit.expired():
        return False
    limit.reschedule(asyncio.get_running_loop().time())
    return True


def _pixels(request: FeatureRequest) -> int:
    """Of all images, as stored."""
    return sum(
        stored_pixels(part.data) if isinstance(part.data, bytes) else part.data.shape[1] * part.data.shape[2]
        for part in request.images
    )


def _enlarged(images: Iterable[ImageReply]) -> int:
    """Pixels that the network was given beyond those stored."""
    geometries = [image.facts.geometry for image in images if image.facts is not None]
    return sum(max(0, math.prod(geometry.network) - math.prod(geometry.stored)) for geometry in geometries)
