"""The device a run computes on, its precision, and the switch that makes its kernels deterministic."""

import os
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from detco_core.contract.config import DeviceConfig, RunConfig
from detco_core.contract.errors import Fault, InvalidDocument

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_ONE_PIXEL_IN_RES4 = 16
"""Side of the largest image, in pixels, whose res4 map is one pixel."""


def open_device(config: DeviceConfig, local_rank: int) -> torch.device:
    """Choose the device of this process and set torch up for it as `config` says.

    Raises:
        InvalidDocument: CUDA is asked for and this machine has none, or not one for this process.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    if config.deterministic:
        _use_deterministic_kernels()
    if config.kind == "cpu" or (config.kind == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        message = f"asks for CUDA device {local_rank}, this machine shows {torch.cuda.device_count()}; use cpu or auto"
        raise InvalidDocument("run config", (Fault("device.kind", message),))
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def check_precision(config: RunConfig, device: torch.device) -> None:
    """Refuse the one combination whose gradients are wrong.

    oneDNN's bfloat16 weight gradient of a strided convolution over a map of one pixel holds memory it never wrote
    (seen with torch 2.15; docs/decisions/110-one-pixel-maps-in-bfloat16.md).

    Raises:
        InvalidDocument: bf16 on the CPU with patches so small that res4 ends in one pixel.
    """
    if device.type == "cpu" and config.device.precision == "bf16" and config.views.patch_size <= _ONE_PIXEL_IN_RES4:
        message = (
            f"bf16 on the CPU gives wrong gradients for patches of {config.views.patch_size} pixels: "
            f"use views.patch_size above {_ONE_PIXEL_IN_RES4}, or fp32"
        )
        raise InvalidDocument("run config", (Fault("device.precision", message),))


def autocast(config: DeviceConfig, device: torch.device) -> AbstractContextManager[Any]:
    """The precision of the forward pass; fp32 leaves everything as it is."""
    return torch.autocast(device.type, _DTYPES[config.precision], enabled=config.precision != "fp32")


def make_scaler(config: DeviceConfig, device: torch.device) -> torch.amp.GradScaler:
    """A gradient scaler, which only fp16 needs: otherwise it is switched off and passes everything through."""
    return torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")


def memory_format(config: DeviceConfig) -> torch.memory_format:
    """Layout of images and weights."""
    return torch.channels_last if config.channels_last else torch.contiguous_format


def to_layout(x: Tensor, config: DeviceConfig) -> Tensor:
    """`[..., C, H, W]` images in the layout of `memory_format`; leading dimensions are merged only for that."""
    flat = x.flatten(0, -4).contiguous(memory_format=memory_format(config))
    return flat.view(x.shape)


def _use_deterministic_kernels() -> None:
    # cuBLAS reads this when it starts and is only deterministic with a fixed workspace.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Nothing here reads uninitialised memory; filling it would only cost time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
