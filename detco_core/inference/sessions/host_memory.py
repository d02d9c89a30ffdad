"""Memory of the host that a GPU copies to and from, taken again and again, and never while anybody still reads it.

A GPU copies from page-locked memory at the speed of its bus, from other memory at a third of that; locking costs
milliseconds. So blocks are kept. An array given out holds its block for as long as it, or any view of it, is alive.
"""

import contextlib
import ctypes
import functools
import logging
import weakref
from collections import deque
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from detco_core.contract.errors import DetcoError

log = logging.getLogger(__name__)

_PORTABLE = 1
"""CU_MEMHOSTALLOC_PORTABLE: page-locked for every context."""
_GRAIN = 2**20
"""Blocks are of whole such units, so that images of about one size share them."""
_IDLE_BYTES = 2**30
"""All levels of a batch of eight at 800x1333."""


class HostMemory(Protocol):
    """A source of blocks of memory, each known by its address."""

    def allocate(self, size: int) -> int: ...

    def free(self, address: int) -> None: ...


class PageLocked:
    """Page-locked memory of the CUDA driver."""

    def __init__(self, driver: Any, device: int = 0) -> None:
        """`driver`: libcuda. Raises `DetcoError` when the driver has no such device."""
        self._driver = driver
        ordinal, self._context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(ordinal), device)
        # onnxruntime works in the primary context too; it is not given back, since the process keeps it.
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), ordinal)

    def allocate(self, size: int) -> int:
        """The address of a new block of `size` bytes."""
        address = ctypes.c_void_p()
        self._within("cuMemHostAlloc", ctypes.byref(address), ctypes.c_size_t(size), _PORTABLE)
        assert address.value is not None  # noqa: S101 - what the driver promises on success
        return address.value

    def free(self, address: int) -> None:
        self._within("cuMemFreeHost", ctypes.c_void_p(address))

    def _within(self, function: str, *arguments: Any) -> None:
        """Call with the context current; which thread calls is not known."""
        self._call("cuCtxPushCurrent_v2", self._context)
        try:
            self._call(function, *arguments)
        finally:
            self._driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self._driver, function)(*arguments)
        if status != 0:
            raise DetcoError(f"the CUDA driver's {function} failed with status {status}")


class Pageable:
    """Ordinary memory, where no other can be had."""

    def __init__(self) -> None:
        self._blocks: dict[int, NDArray[np.uint8]] = {}

    def allocate(self, size: int) -> int:
        block = np.empty(size, np.uint8)
        self._blocks[block.ctypes.data] = block
        return block.ctypes.data

    def free(self, address: int) -> None:
        del self._blocks[address]


class Buffers:
    """Arrays whose memory comes back by itself when the last view of them is gone. Threads may share it."""

    def __init__(self, memory: HostMemory, idle_bytes: int) -> None:
        """`idle_bytes`: kept at most of what nobody uses, for the next ones."""
        self._memory = memory
        self._idle_bytes = idle_bytes
        self._idle: deque[tuple[int, int]] = deque()
        """Size and address, the longest unused first. Blocks come back in whatever thread and moment drops the last
        view, even amid this class's own lines: hence no lock, only what a deque does in one step."""

    def take(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of whatever values happen to be there, nobody else's until its last view is gone."""
        dtype = np.dtype(dtype)
        count = int(np.prod(shape))
        size = max(1, -(-count * dtype.itemsize // _GRAIN)) * _GRAIN
        address = self._idle_block(size) or self._new_block(size)
        block = (ctypes.c_uint8 * size).from_address(address)
        # numpy's views keep `block` alive, not always one another.
        weakref.finalize(block, self._idle.append, (size, address)).atexit = False
        array: NDArray[Any] = np.frombuffer(memoryview(block), dtype, count).reshape(shape)
        return array

    def _new_block(self, size: int) -> int:
        """One more; where there is no room for it, in place of all those nobody uses."""
        try:
            return self._memory.allocate(size)
        except DetcoError:
            while self._idle:
                with contextlib.suppress(IndexError):
                    self._memory.free(self._idle.pop()[1])
            return self._memory.allocate(size)

    def _idle_block(self, size: int) -> int | None:
        """A block that nobody uses, if there is one of this size; what is kept in excess is freed on the way."""
        found = None
        kept = 0
        for _ in range(len(self._idle)):
            try:
                block = self._idle.pop()
            except IndexError:
                break
            if found is None and block[0] == size:
                found = block[1]
            elif kept + block[0] > self._idle_bytes:
                self._memory.free(block[1])
            else:
                kept += block[0]
                self._idle.appendleft(block)
        return found


@functools.cache
def gpu_buffers(device: int) -> Buffers:
    """What all models of this process on one GPU share; ordinary memory where the driver gives no page-locked one."""
    memory: HostMemory = Pageable()
    try:
        memory = PageLocked(ctypes.CDLL("libcuda.so.1"), device)
    except (OSError, AttributeError, DetcoError) as error:
        log.warning("no page-locked memory, copies to and from the GPU are slower: %s", error)
    return Buffers(memory, _IDLE_BYTES)
