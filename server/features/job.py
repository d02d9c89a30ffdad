"""One request under way: each image decoded, computed and finished on its own, so that none harms another.

Decoding and finishing take a bounded pool of threads, compute the model's one owner; what decodes an image puts it in
the owner's line itself. An image whose caller has left or whose deadline has passed is dropped at each step.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar, TypeVarTuple

import numpy as np

from detco_core.contract.errors import ImageError
from detco_core.inference.images import Limits, decode
from detco_core.inference.outputs import finish, gives_as_they_are, needed
from detco_core.inference.preprocess import MAX_NETWORK_PIXELS, Prepared, prepare, prepare_pixels
from detco_core.inference.roi import place
from server.features.admission import Reservation, Ticket
from server.features.errors import ComputeFailed, FeatureError, NoneReadable, ReplyTooLarge
from server.features.loaded import Loaded
from server.features.results import Results
from server.features.schemas import FeatureRequest, ImageFacts, ImagePart, ImageReply, Tensor, Timings
from server.features.waiting import Computed

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineLimits:
    """What the engine takes on."""

    image: Limits = field(default_factory=Limits)
    """Of one file."""
    network_pixels: int = MAX_NETWORK_PIXELS
    """Of one image after resizing."""
    images: int = 64
    """In one request."""
    boxes: int = 1000
    """In one request."""
    under_way: int = 64
    """Images in the house, over all requests; more are refused."""
    bulk: int | None = None
    """Images in the house up to which bulk requests are let in; None: half of `under_way`."""
    images_per_token: int | None = None
    """Under way at once of one token that has no bound of its own; None: any number."""
    pixels_per_token: int | None = None
    """A second, the same."""
    grid_values: int = 2**28
    """Of one image's regions, also where they are pooled; 1,000 of 7 x 7 on all levels of a ResNet-50 have 2**27.5."""
    reply_bytes: int = 512 * 2**20
    """Of one answer."""
    held_bytes: int = 2**30
    """Of all answers not sent yet."""
    result_bytes: int = 0
    """Of results remembered; 0: none are."""
    decoders: int = 2
    """Threads that decode and finish."""


class _Passage:
    """One image on its way from its file to its maps: between event loop, decoding and computing thread."""

    def __init__(self, index: int, part: ImagePart, timings: Timings) -> None:
        self.index = index
        self.part = part
        self.timings = timings
        self.future: Future[Computed] = Future()
        """Cancelled by who leaves; from when it computes on, that is too late."""
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
        threads: Executor,
        deadline: float,
        ticket: Ticket,
        results: Results | None = None,
    ) -> None:
        self._loaded = loaded
        self._request = request
        self._limits = limits
        self._memory = memory
        self._threads = threads
        self._deadline = deadline
        self._ticket = ticket
        self._results = results
        self._bytes = 0
        """Of the answer's tensors so far."""

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
            self._reserve(known.facts)
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
        timings.compute = computed.seconds
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
            self._reserve(facts)
            outputs = needed(self._request.selection, self._loaded.manifest, facts.geometry, facts.regions)
            self._loaded.owner.submit(prepared.array, outputs, self._deadline, passage.future)
        # Whatever it is, it is told to whoever waits for the image.
        except Exception as error:  # noqa: BLE001 - the reason is above
            if passage.future.set_running_or_notify_cancel():
                passage.future.set_exception(error)
        finally:
            # The error's own traceback would hold the future that holds the error.
            del passage

    def _reserve(self, facts: ImageFacts) -> None:
        """Account for the image's tensors before they cost compute."""
        regions = None if facts.regions is None else len(facts.regions)
        request = self._request
        if regions is not None:
            self._check_grids(request.selection.grid_values(self._loaded.manifest, regions))
        size = request.selection.size_of(self._loaded.manifest, facts.geometry, regions)
        # What laying out copies is counted before it costs compute too.
        copied = size // np.dtype(request.selection.dtype).itemsize * request.format.bytes_per_value
        self._memory.take(size + copied, partial(self._check_size, size))

    def _check_grids(self, values: int) -> None:
        """Raise `ReplyTooLarge` for regions that take too long to make, however small what is answered of them."""
        if values > self._limits.grid_values:
            raise ReplyTooLarge(
                f"the grids of the boxes would have {values} values; at most {self._limits.grid_values} are computed "
                "for one image: ask for fewer boxes or levels, or a smaller roi_size",
                format_only=False,
            )

    def _check_size(self, size: int, held: int) -> None:
        """Raise `ReplyTooLarge` unless tensors of so many bytes may be in one answer with those `held` for."""
        width, form = np.dtype(self._request.selection.dtype).itemsize, self._request.format
        values, most = held // (width + form.bytes_per_value) + size // width, form.max_values
        if most is not None and values > most:
            raise ReplyTooLarge(
                f"the answer has at least {values} values and this format gives at most {most}; ask for "
                "application/octet-stream, application/x-npz or application/x-safetensors, or for pool=avg",
                format_only=True,
            )
        if values * width > self._limits.reply_bytes:
            raise ReplyTooLarge(
                f"the answer would have more than {self._limits.reply_bytes} bytes; ask for fewer images or levels, "
                "fewer boxes, dtype=float16 or int8, pool=avg or a smaller size",
                format_only=False,
            )

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
