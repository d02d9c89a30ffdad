"""Heads turn the map of one stage into one embedding per image (paper section 3; widths: docs/method.md).

N batch, P patches of an image, C channels of the stage, D dim. No batch norm; the encoder normalises the result.
"""

from typing import Literal

from torch import Tensor, nn

LocalHeadKind = Literal["narrow", "wide", "pirl"]


def pool(maps: Tensor) -> Tensor:
    """Average over space: `[..., H, W]` to `[...]`."""
    # adaptive_avg_pool2d computes the same, but its CUDA backward is not deterministic.
    return maps.mean(dim=(-2, -1))


class GlobalHead(nn.Module):
    """C - C - D on the pooled map: `[N, C, H, W]` to `[N, D]` (MoCo v2's head)."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.mlp = _mlp(channels, channels, dim)

    def forward(self, maps: Tensor) -> Tensor:
        embedded: Tensor = self.mlp(pool(maps))
        return embedded


class LocalHead(nn.Module):
    """One embedding from all patches of an image: `[N * P, C, h, w]` to `[N, D]`.

    The pooled patches are concatenated in the (shuffled) order they come in: PC - hidden - D.
    """

    def __init__(self, channels: int, patches: int, dim: int, hidden: int) -> None:
        super().__init__()
        self.patches = patches
        self.mlp = _mlp(patches * channels, hidden, dim)

    def forward(self, maps: Tensor) -> Tensor:
        embedded: Tensor = self.mlp(_joined(pool(maps), self.patches))
        return embedded


class PirlHead(nn.Module):
    """PIRL's local head: each patch C - D, then all patches together PD - D, both linear."""

    def __init__(self, channels: int, patches: int, dim: int) -> None:
        super().__init__()
        self.patches = patches
        self.patch = nn.Linear(channels, dim)
        self.image = nn.Linear(patches * dim, dim)

    def forward(self, maps: Tensor) -> Tensor:
        embedded: Tensor = self.image(_joined(self.patch(pool(maps)), self.patches))
        return embedded


def make_local_head(kind: LocalHeadKind, channels: int, patches: int, dim: int) -> nn.Module:
    """The local head of a stage.

    `narrow` is PC - C - D (our default: it fits the author's word that the head costs little), `wide` is PC - PC - D,
    `pirl` is as in PIRL.
    """
    if kind == "pirl":
        return PirlHead(channels, patches, dim)
    return LocalHead(channels, patches, dim, hidden=channels if kind == "narrow" else patches * channels)


def _mlp(width: int, hidden: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim))


def _joined(patches: Tensor, count: int) -> Tensor:
    """`[N * count, C]`, the patches of an image one after another, as `[N, count * C]`."""
    return patches.reshape(-1, count * patches.shape[1])
