"""One request under way: each image decoded, computed and finished on its own, so that none harms another.

Decoding and finishing take a bounded pool of threads, compute the model's one owner; what decodes an image puts it in
the owner's line itself. An image whose caller has left or whose deadline has passed is dropped at each step.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeVar, TypeVarTuple

import numpy as np

from detco_core.contract.errors import ImageError
from detco_core.inference.outputs import finish, gives_as_they_are, needed
from detco_core.inference.pictures.images import decode
from detco_core.inference.pictures.preprocess import Prepared, prepare, prepare_pixels
from detco_core.inference.roi import place
from server.features.admission import Ticket
from server.features.decoders import Decoders
from server.features.errors import ComputeFailed, FeatureError, NoneReadable
from server.features.limits import EngineLimits
from server.features.models.loaded import Loaded
from server.features.replies.budget import Budget
from server.features.reply_memory import Reservation
from server.features.results import Results
from server.features.schemas import FeatureRequest, ImageFacts, ImagePart, ImageReply, Tensor, Timings
from server.features.waiting import Computed, Entry

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _Passage:
    """One image on its way from its file to its maps: between event loop, decoding and computing thread."""

    def __init__(self, index: int, part: ImagePart, timings: Timings) -> None:
        self.index = index
        self.part = part
        self.timings = timings
        self.future: Future[Computed] = Future()
        """Cancelled when the caller leaves, which changes nothing once compute has begun."""
        self.facts: ImageFacts
        self.decoded: float
        """When; like the facts, there once the future has a result."""


class Job:
    """The way of one request's images."""

    def __init__(
        self,
        loaded: Loaded,
        request: FeatureRequest,
        limits: EngineLimits,
        memory: Reservation,
        threads: Decoders,
        deadline: float,
        ticket: Ticket,
        results: Results | None = None,
    ) -> None:
        self._loaded = loaded
        self._request = request
        self._limits = limits
        self._budget = Budget(request, loaded.manifest, limits, memory)
        self._threads = threads
        self._deadline = deadline
        self._ticket = ticket
        self._results = results

    async def run(self) -> tuple[ImageReply, ...]:
        """Every image's answer.

        Raises:
            FeatureError: one that concerns the whole request, or that no image could be used.
            ImageError: the only image cannot be used.
        """
        ways = [self._image(index, part) for index, part in enumerate(self._request.images)]
        # One image needs no task of its own.
        images = [await ways[0]] if len(ways) == 1 else await asyncio.gather(*ways)
        why = _refusal(images)
        if why is None:
            return tuple(images)
        try:
            raise why
        finally:
            # The error's own traceback would hold the names that hold the error, and the model and pictures with them.
            del why, images

    async def _image(self, index: int, part: ImagePart) -> ImageReply:
        timings = Timings()
        try:
            if self._results is not None:
                return await self._remembered(self._results, index, part, timings)
            facts, tensors = await self._features(index, part, timings)
        except (ImageError, FeatureError) as error:
            # Without its traceback, which holds the picture, its future and so the error itself.
            return ImageReply(index, part.name, timings, error=error.with_traceback(None))
        return ImageReply(index, part.name, timings, facts, tensors)

    async def _remembered(self, results: Results, index: int, part: ImagePart, timings: Timings) -> ImageReply:
        """The image's answer, from memory where it is there; what went wrong is not remembered."""
        key = await self._in_thread(results.key_of, self._loaded, self._request, index)
        known = results.get(key)
        if known is not None:
            self._budget.reserve(known.facts)
            return ImageReply(index, part.name, timings, known.facts, known.at(index), cached=True)
        facts, tensors = await self._features(index, part, timings)
        await self._in_thread(results.put, key, facts, tensors)
        return ImageReply(index, part.name, timings, facts, tensors)

    async def _features(self, index: int, part: ImagePart, timings: Timings) -> tuple[ImageFacts, tuple[Tensor, ...]]:
        arrived = time.monotonic()
        async with self._loaded.ahead.turn(bulk=self._ticket.bulk):
            self._ticket.begun += 1
            timings.moments.append(("queue", arrived, time.monotonic()))
            passage = _Passage(index, part, timings)
            self._threads.submit(self._bring, passage)
            computed = await asyncio.wrap_future(passage.future)
        ended = time.monotonic()
        facts = replace(passage.facts, provider=computed.provider)
        timings.compute, timings.batch = computed.seconds, computed.batch
        timings.queue = ended - arrived - timings.decode - timings.compute
        began = max(passage.decoded, ended - computed.seconds)
        timings.moments += [("queue", passage.decoded, began), ("compute", began, ended)]
        if gives_as_they_are(self._request.selection, computed.maps, facts.regions):
            return facts, self._finish(index, facts, computed, timings)
        return facts, await self._in_thread(self._finish, index, facts, computed, timings)

    def _bring(self, passage: "_Passage") -> None:
        """Decode, account for what will be answered, and put in line for compute; in a thread."""
        try:
            if passage.future.cancelled():
                return
            facts, prepared = self._prepare(passage.index, passage.part, passage.timings)
            passage.facts, passage.decoded = facts, time.monotonic()
            if passage.future.cancelled():
                return
            self._budget.reserve(facts)
            outputs = needed(self._request.selection, self._loaded.manifest, facts.geometry, facts.regions)
            self._hand_over(Entry(prepared.array, outputs, self._deadline, passage.future))
        # Whatever it is, it is told to whoever waits for the image.
        except Exception as error:  # noqa: BLE001 - the reason is above
            if passage.future.set_running_or_notify_cancel():
                passage.future.set_exception(error)
        finally:
            # The error's own traceback would hold the future that holds the error.
            del passage

    def _hand_over(self, entry: Entry) -> None:
        """Compute it here and now where nothing else is to be computed, which spares a visit to another thread; else
        put it in line.
        """
        owner, computing = self._loaded.owner, self._threads.computing
        if computing.acquire(blocking=False):
            try:
                if owner.compute_here(entry):
                    return
            finally:
                computing.release()
        owner.submit(entry)

    def _prepare(self, index: int, part: ImagePart, timings: Timings) -> tuple[ImageFacts, Prepared]:
        began = time.monotonic()
        options, spec = self._request.options, self._loaded.manifest.input
        if isinstance(part.data, np.ndarray):
            prepared = prepare_pixels(part.data, spec, self._limits.network_pixels)
            facts = ImageFacts("pixels", 1, prepared.geometry, None, animated=False)
        else:
            decoded = decode(part.data, self._limits.image, options.orientation, spec)
            prepared = prepare(decoded, spec, options.resize, self._limits.network_pixels)
            geometry, converted = prepared.geometry, prepared.converted_from
            regions = None if options.boxes is None else place(options.boxes[index], geometry)
            facts = ImageFacts(decoded.format, decoded.orientation, geometry, converted, decoded.animated, regions)
        ended = time.monotonic()
        timings.decode = ended - began
        timings.moments.append(("decode", began, ended))
        return facts, prepared

    def _finish(self, index: int, facts: ImageFacts, computed: Computed, timings: Timings) -> tuple[Tensor, ...]:
        began = time.monotonic()
        selection, manifest = self._request.selection, self._loaded.manifest
        finished = finish(selection, manifest, facts.geometry, computed.maps, facts.regions)
        ended = time.monotonic()
        timings.encode = ended - began
        timings.moments.append(("encode", began, ended))
        return tuple(Tensor(index, *item) for item in finished)

    async def _in_thread(self, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


def _refusal(images: Sequence[ImageReply]) -> Exception | None:
    """What is wrong with the whole request: an error that concerns all of it, or that no image could be used."""
    errors = [image.error for image in images if image.error is not None]
    for error in errors:
        if isinstance(error, FeatureError) and not isinstance(error, ComputeFailed):
            return error
    if len(images) > len(errors):
        return None
    return errors[0] if len(errors) == 1 else NoneReadable(errors)
