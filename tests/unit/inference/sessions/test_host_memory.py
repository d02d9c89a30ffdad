"""Memory that comes back by itself, and never while anybody still looks at it."""

import ctypes
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detco_core.contract.errors import DetcoError
from detco_core.inference.sessions.host_memory import Buffers, Pageable, PageLocked, gpu_buffers

MIB = 2**20


class Counted(Pageable):
    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def allocate(self, size: int) -> int:
        self.sizes.append(size)
        return super().allocate(size)


def address(array: np.ndarray) -> int:
    return int(array.ctypes.data)


def test_a_block_comes_back_when_the_last_view_of_it_is_gone() -> None:
    buffers = Buffers(Counted(), MIB)
    array = buffers.take((2, 3, 5), np.float32)
    assert (array.shape, array.dtype.name, array.flags.writeable) == ((2, 3, 5), "float32", True)
    first = address(array)
    bytes_of_second = array[1:].reshape(-1).view(np.uint8).data
    del array
    other = buffers.take((7,), np.float16)
    assert address(other) != first
    del bytes_of_second
    assert address(buffers.take((4, 4), np.int8)) == first


def test_no_more_is_kept_than_it_may_keep() -> None:
    memory = Counted()
    buffers = Buffers(memory, 2 * MIB)
    arrays = [buffers.take((n * MIB,), np.uint8) for n in (1, 1, 1, 3)]
    kept = [address(array) for array in arrays[1:3]]
    assert memory.sizes == [MIB, MIB, MIB, 3 * MIB]
    while arrays:
        arrays.pop(0)
    assert address(buffers.take((2 * MIB,), np.uint8)) not in kept
    assert len(memory._blocks) == 3
    assert {address(buffers.take((9,), np.uint8)) for _ in range(3)} <= set(kept)


def test_where_no_more_can_be_locked_what_nobody_uses_makes_room() -> None:
    class Full(Counted):
        def allocate(self, size: int) -> int:
            if sum(block.nbytes for block in self._blocks.values()) + size > 3 * MIB:
                raise DetcoError("the CUDA driver's cuMemHostAlloc failed with status 2")
            return super().allocate(size)

    memory = Full()
    buffers = Buffers(memory, 3 * MIB)
    held = buffers.take((MIB,), np.uint8)
    for size in (MIB, MIB):
        buffers.take((size,), np.uint8)
    assert buffers.take((2 * MIB,), np.uint8).nbytes == 2 * MIB
    with pytest.raises(DetcoError, match="cuMemHostAlloc failed with status 2"):
        buffers.take((3 * MIB,), np.uint8)
    assert list(memory._blocks) == [address(held)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["take", "view", "drop"]), st.integers(0, 2**31)), max_size=60))
def test_what_is_held_is_never_given_out_again(steps: list[tuple[str, int]]) -> None:
    buffers = Buffers(Pageable(), 3 * MIB)
    held: list[tuple[np.ndarray, int]] = []
    for number, (step, choice) in enumerate(steps):
        if step == "take":
            array = buffers.take((choice % (2 * MIB) + 1,), np.uint8)
            array[:] = number % 251
            held.append((array, number % 251))
        elif held and step == "view":
            array, value = held.pop(choice % len(held))
            held.append((array[choice % len(array) :], value))
        elif held:
            held.pop(choice % len(held))
        assert all((array[::997] == value).all() for array, value in held)


class Driver:
    """The functions of libcuda that are used, over ordinary memory."""

    def __init__(self, status: int = 0) -> None:
        self.status = status
        self.calls: Counter[str] = Counter()
        self.flags: list[int] = []
        self.blocks: dict[int, Any] = {}
        self.depth = 0

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            self.calls[name] += 1
            return self.status

        return call

    def cuCtxPushCurrent_v2(self, context: Any) -> int:
        self.depth += 1
        return 0

    def cuCtxPopCurrent_v2(self, context: Any) -> int:
        self.depth -= 1
        return 0

    def cuMemHostAlloc(self, address: Any, size: ctypes.c_size_t, flags: int) -> int:
        assert self.depth == 1
        block = ctypes.create_string_buffer(size.value)
        address._obj.value = ctypes.addressof(block)
        self.blocks[ctypes.addressof(block)] = block
        self.flags.append(flags)
        return 0

    def cuMemFreeHost(self, address: ctypes.c_void_p) -> int:
        assert self.depth == 1
        assert address.value is not None
        del self.blocks[address.value]
        return 0


def test_page_locked_memory_is_the_drivers() -> None:
    driver = Driver()
    buffers = Buffers(PageLocked(driver), 0)
    assert driver.calls == {"cuInit": 1, "cuDeviceGet": 1, "cuDevicePrimaryCtxRetain": 1}
    array = buffers.take((3, 4), np.float32)
    array[:] = 7
    assert (driver.flags, list(driver.blocks), driver.depth) == ([1], [address(array)], 0)
    del array
    buffers.take((2 * MIB,), np.uint8)
    assert len(driver.blocks) == 1


def test_a_driver_that_refuses_is_named() -> None:
    with pytest.raises(DetcoError, match="cuInit failed with status 100"):
        PageLocked(Driver(status=100))


def test_without_a_driver_there_is_ordinary_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    gpu_buffers.cache_clear()
    assert gpu_buffers(0).take((2,), np.float32).shape == (2,)
    assert "no page-locked memory" in caplog.text
    gpu_buffers.cache_clear()
