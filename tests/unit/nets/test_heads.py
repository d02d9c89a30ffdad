"""Heads: sizes as the research note counts them, values against loops."""

import numpy as np
import pytest
import torch
from torch import nn

from detco_core.nets.heads import GlobalHead, LocalHead, LocalHeadKind, make_local_head, pool

R50 = (256, 512, 1024, 2048)


def parameters(heads: list[nn.Module]) -> float:
    return sum(weight.numel() for head in heads for weight in head.parameters()) / 1e6


def test_four_global_heads_of_resnet50_have_six_million_parameters() -> None:
    with torch.device("meta"):
        assert parameters([GlobalHead(c, 128) for c in R50]) == pytest.approx(6.07, abs=0.005)


@pytest.mark.parametrize(("kind", "millions"), [("wide", 455.7), ("narrow", 50.6), ("pirl", 1.1)])
def test_four_local_heads_of_resnet50_have_the_size_of_their_kind(kind: LocalHeadKind, millions: float) -> None:
    with torch.device("meta"):
        heads = [make_local_head(kind, c, 9, 128) for c in R50]
    assert parameters(heads) == pytest.approx(millions, abs=0.05)


def test_pool_is_the_mean_over_space() -> None:
    maps = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    slow = [[float(np.mean(maps[n, c].numpy())) for c in range(5)] for n in range(2)]
    torch.testing.assert_close(pool(maps), torch.tensor(slow, dtype=torch.float64))


def test_global_head_in_loops() -> None:
    head, maps = GlobalHead(4, 3).double(), torch.randn(2, 4, 2, 2, dtype=torch.float64)
    first, second = head.mlp[0], head.mlp[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    w1, b1, w2, b2 = (x.detach().numpy() for x in (first.weight, first.bias, second.weight, second.bias))
    for n, embedding in enumerate(head(maps)):
        pooled = maps[n].numpy().mean(axis=(1, 2))
        np.testing.assert_allclose(embedding.detach().numpy(), w2 @ np.maximum(w1 @ pooled + b1, 0) + b2, rtol=1e-12)


@pytest.mark.parametrize("kind", ["narrow", "wide"])
def test_local_head_reads_the_patches_of_one_image_in_order(kind: LocalHeadKind) -> None:
    head = make_local_head(kind, 4, 9, 3).double()
    maps = torch.randn(2 * 9, 4, 2, 2, dtype=torch.float64)
    assert isinstance(head, LocalHead)
    first, second = head.mlp[0], head.mlp[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    w1, b1, w2, b2 = (x.detach().numpy() for x in (first.weight, first.bias, second.weight, second.bias))
    assert w1.shape == ((4 if kind == "narrow" else 36), 36)
    for n, embedding in enumerate(head(maps)):
        row = np.concatenate([maps[9 * n + p].numpy().mean(axis=(1, 2)) for p in range(9)])
        np.testing.assert_allclose(embedding.detach().numpy(), w2 @ np.maximum(w1 @ row + b1, 0) + b2, rtol=1e-12)


def test_pirl_head_embeds_each_patch_then_all() -> None:
    head = make_local_head("pirl", 4, 9, 3).double()
    maps = torch.randn(2 * 9, 4, 2, 2, dtype=torch.float64)
    patch, image = (getattr(head, name) for name in ("patch", "image"))
    with torch.no_grad():
        for n, embedding in enumerate(head(maps)):
            row = torch.cat([patch(maps[9 * n + p].mean(dim=(1, 2))) for p in range(9)])
            torch.testing.assert_close(embedding, image(row))


def test_heads_have_no_batch_norm() -> None:
    heads: list[nn.Module] = [GlobalHead(4, 3), *(make_local_head(k, 4, 9, 3) for k in ("narrow", "wide", "pirl"))]
    assert not any(isinstance(module, nn.BatchNorm1d) for head in heads for module in head.modules())
