"""The bounded memory of a session on a device: what to do when it runs out.

onnxruntime's arena keeps what it was given, in pieces of the sizes it was asked for. When sizes change, all of it can
be free and still no piece large enough; an arena without a bound would then take more.
"""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import onnxruntime as ort

from detco_core.contract.shortage import is_out_of_memory

log = logging.getLogger(__name__)

INPUT = "image"
SHRINK = "memory.enable_memory_arena_shrinkage"
_SIDE = 32
"""Pixels of the picture computed for what happens after it; TensorRT's profiles begin there."""

Result = TypeVar("Result")


class Arena:
    """That of one session. Threads may share it."""

    def __init__(self, session: Any, name: str, drop: Callable[[], None]) -> None:
        """`name`: onnxruntime's (`gpu:0`); `drop` lets go of what is kept in it for later."""
        self._session = session
        self._drop = drop
        self._shrinking = ort.RunOptions()
        self._shrinking.add_run_config_entry(SHRINK, name)

    def with_room(self, work: Callable[[], Result], channels: int) -> Result:
        """Do the work; where memory runs out, once more after tidying. `channels`: of a picture the session takes."""
        try:
            return work()
        # onnxruntime's exceptions share no base class but Exception. This one's frames hold memory too: it ends here.
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            log.warning("the device's memory ran out; what is free of it is given back before another try: %s", error)
        self._tidy(channels)
        return work()

    def _tidy(self, channels: int) -> None:
        """Give back every unused piece: onnxruntime does it at the end of a run told to, even of one that fails."""
        self._drop()
        binding = self._session.io_binding()
        try:
            binding.bind_cpu_input(INPUT, np.zeros((1, channels, _SIDE, _SIDE), np.float32))
            binding.bind_output(self._session.get_outputs()[0].name)
            self._session.run_with_iobinding(binding, self._shrinking)
        # As above: onnxruntime may raise anything.
        except Exception as error:  # noqa: BLE001 - what is lost is a better second try
            log.warning("giving the device's memory back failed: %s", error)
