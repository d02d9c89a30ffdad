"""Whether a model really answers: a picture sent the way every picture goes, past the bounds on how many may."""

import asyncio
import io
import time

import numpy as np
from PIL import Image

from detco_core.contract.manifest import InputSpec
from server.features.admission import Ticket
from server.features.decoders import Decoders
from server.features.errors import DeadlineExceeded
from server.features.job import Job
from server.features.limits import EngineLimits
from server.features.models.catalog import VersionRef
from server.features.models.loaded import Loaded
from server.features.options import FeatureOptions
from server.features.reply_memory import ReplyBytes, Reservation
from server.features.schemas import FeatureRequest, ImagePart

_HANGING = 60.0
"""Seconds one image may take before its model counts as hanging."""
_SIDE = 64
"""Pixels of the picture."""


class Probe:
    """One picture for one model."""

    def __init__(self, loaded: Loaded, limits: EngineLimits, threads: Decoders, seconds: float) -> None:
        self._loaded = loaded
        self._seconds = seconds
        options = FeatureOptions(resize="none", pool="avg")
        request = FeatureRequest((ImagePart(picture(loaded.manifest.input)),), options)
        # Neither who reads slowly nor who waits for a place makes a server unfit.
        memory, ticket = Reservation(ReplyBytes(limits.reply_bytes)), Ticket(1, bulk=False)
        self._job = Job(loaded, request, limits, memory, threads, time.monotonic() + seconds, ticket)

    @property
    def version(self) -> VersionRef:
        return self._loaded.version

    async def run(self) -> str | None:
        """What is wrong; None when the picture came through, or others' pictures do."""
        before = self._loaded.owner.computed
        try:
            async with asyncio.timeout(self._seconds):
                await self._job.run()
        except (TimeoutError, DeadlineExceeded):
            at_work = self._loaded.owner.at_work
            moves = self._loaded.owner.computed > before or (at_work is not None and at_work < _HANGING)
            return None if moves else "does not answer"
        # Whatever it was: it says why the server is not ready.
        except Exception as error:  # noqa: BLE001 - the reason is above
            return f"fails: {error}"
        return None


def picture(spec: InputSpec) -> bytes:
    """A file of the kind the model takes."""
    file = io.BytesIO()
    if (spec.channels, spec.bit_depth) == (3, 8):
        Image.new("RGB", (_SIDE, _SIDE), "grey").save(file, "PNG")
    else:
        depth = np.uint8 if spec.bit_depth == 8 else np.uint16
        np.save(file, np.zeros((_SIDE, _SIDE, spec.channels), depth))
    return file.getvalue()
