"""What is done to whole batches of views on the device they train on."""

from functools import lru_cache

import torch
from torch import Tensor


def normalise(x: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Turn `[..., C, H, W]` of 0..255, uint8 or float32, into float32 `(x / 255 - mean) / std` per channel.

    On `x`'s device; `mean` and `std` are of values in 0..1.
    """
    scale, shift = _constants(mean, std, x.device)
    return x.to(torch.float32, copy=True).mul_(scale).add_(shift)


@lru_cache(maxsize=16)
def _constants(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    # Kept on the device: building them from Python floats each step would be a copy that waits for the GPU.
    spread = torch.tensor(std, dtype=torch.float64)
    scale = 1.0 / (255.0 * spread)
    shift = -torch.tensor(mean, dtype=torch.float64) / spread
    return tuple(v.to(torch.float32).view(-1, 1, 1).to(device) for v in (scale, shift))  # type: ignore[return-value]  # two
