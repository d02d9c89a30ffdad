"""The device and what is set with it. CUDA itself is for the tests marked gpu."""

from collections.abc import Iterator

import pytest
import torch

from detco_core.contract.config import DeviceConfig
from detco_core.contract.errors import InvalidDocument
from detco_core.runtime.device import autocast, make_scaler, open_device, to_layout

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _leave_as_found() -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def test_sets_threads_and_determinism() -> None:
    assert open_device(DeviceConfig(kind="cpu", threads=3, deterministic=True), 0) == CPU
    assert torch.get_num_threads() == 3
    assert torch.are_deterministic_algorithms_enabled()


def test_leaves_torch_alone_when_not_asked() -> None:
    torch.use_deterministic_algorithms(False)
    before = torch.get_num_threads()
    open_device(DeviceConfig(kind="cpu", deterministic=False), 0)
    assert torch.get_num_threads() == before
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_missing_gpu_is_named() -> None:
    with pytest.raises(InvalidDocument, match=r"device\.kind: asks for CUDA device 99"):
        open_device(DeviceConfig(kind="cuda"), 99)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_auto_takes_the_cpu_without_a_gpu() -> None:
    assert open_device(DeviceConfig(kind="auto"), 0) == CPU


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_precision_of_a_product(precision: str, dtype: torch.dtype) -> None:
    config = DeviceConfig(precision=precision)  # type: ignore[arg-type]  # one of the three literals, parametrised
    x = torch.ones(2, 2)
    with autocast(config, CPU):
        assert (x @ x).dtype == dtype


def test_only_fp16_scales_gradients() -> None:
    loss = torch.ones(())
    assert make_scaler(DeviceConfig(precision="fp16"), CPU).scale(loss).item() > 1
    assert make_scaler(DeviceConfig(precision="bf16"), CPU).scale(loss).item() == 1
    assert make_scaler(DeviceConfig(precision="fp32"), CPU).scale(loss).item() == 1


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 9, 3, 4, 5)])
@pytest.mark.parametrize("channels_last", [True, False])
def test_layout_changes_strides_and_nothing_else(shape: tuple[int, ...], channels_last: bool) -> None:
    x = torch.randn(shape)
    laid = to_layout(x, DeviceConfig(channels_last=channels_last))
    assert torch.equal(laid, x)
    assert (laid.stride(-3) == 1) == channels_last
