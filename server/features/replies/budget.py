"""What the answer to one request may hold: each image's tensors are accounted for before they cost compute."""

from functools import partial

import numpy as np

from detco_core.contract.manifest import Manifest
from server.features.errors import ReplyTooLarge
from server.features.limits import EngineLimits
from server.features.reply_memory import Reservation
from server.features.schemas import FeatureRequest, ImageFacts


class Budget:
    """That of one request to one model. Threads may share it."""

    def __init__(self, request: FeatureRequest, manifest: Manifest, limits: EngineLimits, memory: Reservation) -> None:
        self._selection = request.selection
        self._format = request.format
        self._manifest = manifest
        self._limits = limits
        self._memory = memory
        self._width = np.dtype(request.selection.dtype).itemsize
        """Bytes of a value as it is answered."""

    def reserve(self, facts: ImageFacts) -> None:
        """Hold the memory of one image's tensors, and of what laying them out will copy.

        Raises:
            ReplyTooLarge: the answer would pass a bound of one answer, or of its format.
            Overloaded: there is no memory for it beside the answers that wait to be read.
        """
        regions = None if facts.regions is None else len(facts.regions)
        if regions is not None:
            self._check_grids(self._selection.grid_values(self._manifest, regions))
        size = self._selection.size_of(self._manifest, facts.geometry, regions)
        copied = size // self._width * self._format.bytes_per_value
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
        """Raise `ReplyTooLarge` where an image's tensors of `size` bytes are too much beside those of the images before
        it, for which, copies included, `held` bytes are held.
        """
        before = held // (self._width + self._format.bytes_per_value)
        values, most = before + size // self._width, self._format.max_values
        if most is not None and values > most:
            raise ReplyTooLarge(
                f"the answer has at least {values} values and this format gives at most {most}; ask for "
                "application/octet-stream, application/x-npz or application/x-safetensors, or for pool=avg",
                format_only=True,
            )
        if values * self._width > self._limits.reply_bytes:
            raise ReplyTooLarge(
                f"the answer would have more than {self._limits.reply_bytes} bytes; ask for fewer images or levels, "
                "fewer boxes, dtype=float16 or int8, pool=avg or a smaller size",
                format_only=False,
            )
