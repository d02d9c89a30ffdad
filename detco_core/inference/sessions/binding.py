"""Runs an onnxruntime session on memory bound beforehand: a batch is brought to the device, then computed.

The two steps are apart so that one batch can be brought while another computes. On the CPU nothing is brought and
nothing copied: onnxruntime reads the caller's array and gives out its own. On a device the input lies in memory of the
session's own arena, and what comes back in page-locked memory; both are kept for the next batch of that shape.

Bringing returns when the copy is done, and computing when the outputs are on the host: onnxruntime waits for both by
itself, so nothing here is looked at, or given back, while the device still uses it.
"""

import math
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detco_core.inference.sessions.arena import INPUT, Arena
from detco_core.inference.sessions.host_memory import Buffers

_IDLE_INPUTS = 2**28
"""Bytes of input tensors kept on the device for the next batches of their shape: two of eight images at 800x1333."""
_KNOWN_SHAPES = 256

Maps = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the inputs and outputs of a session lie that does not compute in numpy's own memory."""

    device: str
    """onnxruntime's name of it: `cuda`."""
    device_id: int
    buffers: Buffers
    """Where the host's side of every copy lies."""
    arena: str
    """onnxruntime's name of the arena, where it is asked to give memory back: `gpu:0`."""


class Bound:
    """One onnxruntime session. Threads may share it."""

    def __init__(self, session: Any, placement: Placement | None) -> None:
        """`placement`: None for a session that computes on the CPU."""
        self.session = session
        self._placement = placement
        self._inputs = _Inputs(session, placement) if placement else None
        self._arena = Arena(session, placement.arena, self._inputs.clear) if placement and self._inputs else None
        self._shapes: OrderedDict[tuple[Any, ...], list[tuple[tuple[int, ...], np.dtype[Any]]]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def provider(self) -> str:
        """What it runs on, by onnxruntime's name."""
        return str(self.session.get_providers()[0])

    def stage(self, arrays: Sequence[NDArray[np.float32]], outputs: Sequence[str]) -> "Staged":
        """Bring images `[n, C, H, W]` of one size, as one batch, to where they are computed."""
        if self._placement is None or self._inputs is None or self._arena is None:
            batch = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
            return Staged(self, np.ascontiguousarray(batch), batch.shape, tuple(outputs))
        shape = (sum(len(array) for array in arrays), *arrays[0].shape[1:])
        host = self._placement.buffers.take(shape, np.float32)
        np.concatenate(arrays, out=host)
        value = self._arena.with_room(partial(self._inputs.take, shape), shape[1])
        value.update_inplace(host)
        return Staged(self, value, shape, tuple(outputs))

    def compute(self, staged: "Staged") -> Maps:
        binding = self.session.io_binding()
        if self._inputs is None:
            binding.bind_cpu_input(INPUT, staged.input)
        else:
            binding.bind_ortvalue_input(INPUT, staged.input)
        arrays = self._bind_outputs(binding, staged)
        run = partial(self.session.run_with_iobinding, binding)
        if self._arena is None:
            run()
        else:
            self._arena.with_room(run, staged.shape[1])
        if arrays is None:
            arrays = [value.numpy() for value in binding.get_outputs()]
            self._learn(staged, arrays)
        if self._inputs is not None:
            self._inputs.give_back(staged.shape, staged.input)
        return dict(zip(staged.outputs, arrays, strict=True))

    def _bind_outputs(self, binding: Any, staged: "Staged") -> list[NDArray[Any]] | None:
        """The arrays the outputs will be in; None where onnxruntime makes them: on the CPU, and for a new shape."""
        with self._lock:
            known = self._shapes.get(staged.kind)
            if known is not None:
                self._shapes.move_to_end(staged.kind)
        if self._placement is None or known is None:
            for name in staged.outputs:
                binding.bind_output(name)
            return None
        arrays = [self._placement.buffers.take(shape, dtype) for shape, dtype in known]
        for name, array in zip(staged.outputs, arrays, strict=True):
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        return arrays

    def _learn(self, staged: "Staged", arrays: list[NDArray[Any]]) -> None:
        if self._placement is None:
            return
        with self._lock:
            self._shapes[staged.kind] = [(array.shape, array.dtype) for array in arrays]
            if len(self._shapes) > _KNOWN_SHAPES:
                self._shapes.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Staged:
    """A batch where it will be computed, and what is wanted of it."""

    bound: Bound
    input: Any
    """The array itself, or the tensor on the device that holds a copy."""
    shape: tuple[int, ...]
    outputs: tuple[str, ...]

    @property
    def kind(self) -> tuple[Any, ...]:
        """Batches of one kind have outputs of the same shapes."""
        return (self.shape, *self.outputs)

    @property
    def provider(self) -> str:
        return self.bound.provider

    def compute(self) -> Maps:
        """The outputs, `[N, ...]` each, in memory that nothing overwrites while it is looked at. Once only."""
        return self.bound.compute(self)


class _Inputs:
    """Input tensors on the device, by shape. Threads may share it."""

    def __init__(self, session: Any, placement: Placement) -> None:
        self._session = session
        self._placement = placement
        self._idle: deque[tuple[tuple[int, ...], Any]] = deque()
        """The longest unused first, dropped when they are too large together: what they hold, the network cannot."""
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...]) -> Any:
        with self._lock:
            for place, (found, value) in enumerate(self._idle):
                if found == shape:
                    del self._idle[place]
                    return value
        # Of the session's own arena, so that its bound holds for inputs too.
        where = (self._placement.device, self._placement.device_id)
        return self._session.create_ortvalue_from_shape_and_type(shape, np.float32, *where)

    def clear(self) -> None:
        with self._lock:
            self._idle.clear()

    def give_back(self, shape: tuple[int, ...], value: Any) -> None:
        if _bytes(shape) > _IDLE_INPUTS:
            return
        with self._lock:
            self._idle.append((shape, value))
            while sum(_bytes(shape) for shape, _ in self._idle) > _IDLE_INPUTS:
                self._idle.popleft()


def _bytes(shape: tuple[int, ...]) -> int:
    return math.prod(shape) * np.dtype(np.float32).itemsize
