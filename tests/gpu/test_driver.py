"""What is asked of the CUDA driver itself, without onnxruntime's GPU package: devices, names, page-locked memory."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from control.gpus import discover
from detco_core.inference.sessions.execution import DEVICE, cuda_devices, gpu_name
from detco_core.inference.sessions.host_memory import Buffers, PageLocked, gpu_buffers

pytestmark = pytest.mark.gpu

MIB = 2**20


def test_the_gpu_has_a_name_by_which_engines_are_kept() -> None:
    assert cuda_devices() >= 1
    assert gpu_name() not in ("", "unknown")


def shown(visible: str) -> int:
    """Devices that a new process sees with that setting."""
    code = "from detco_core.inference.sessions.execution import cuda_devices; print(cuda_devices())"
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": visible}
    return int(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout)


def test_a_server_sees_the_gpu_it_names_by_uuid_and_no_other() -> None:
    found = discover()
    if not found:
        pytest.skip("needs nvidia-ml-py, and NVML of the driver: pip install 'detco[server]'")
    assert shown(found[0].uuid) == 1
    assert shown("") == 0


def page_locked(idle_bytes: int) -> Buffers:
    memory = gpu_buffers(DEVICE)._memory
    assert isinstance(memory, PageLocked)
    return Buffers(memory, idle_bytes)


def test_blocks_are_page_locked_and_copied_both_ways() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a torch with CUDA, which tells page-locked memory from other")
    array = page_locked(MIB).take((5, 300, 301), np.float32)
    assert torch.from_numpy(array).is_pinned()
    assert not torch.from_numpy(np.empty_like(array)).is_pinned()
    array[:] = np.arange(array.size, dtype=np.float32).reshape(array.shape)
    there = torch.from_numpy(array).to("cuda", non_blocking=True)
    torch.cuda.synchronize()
    back = page_locked(MIB).take(array.shape, np.float32)
    torch.from_numpy(back).copy_(there)
    np.testing.assert_array_equal(back, array)


def test_blocks_are_taken_and_freed_in_any_thread() -> None:
    buffers = page_locked(2 * MIB)

    def one(seed: int) -> bool:
        random = np.random.default_rng(seed)
        kept: list[tuple[np.ndarray, int]] = []
        for _ in range(40):
            array = buffers.take((int(random.integers(1, 3 * MIB)),), np.uint8)
            array[:] = seed
            kept = [*kept[-2:], (array, seed)]
            if not all((held[::4099] == value).all() for held, value in kept):
                return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(one, range(8)))
