"""Batch norms over other company, against loops in float64; over two processes they are tested in tests/distributed."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detco_core.contract.errors import InvalidDocument
from detco_core.nets.batch_norm import SplitBatchNorm2d, SyncBatchNorm2d, has_batch_norm, split, synchronise
from tests.networks import narrow_backbone

EPS, SHARE = 1e-5, 0.1


def made_up(norm: nn.BatchNorm2d) -> None:
    """Weights and statistics that are not the ones it starts with."""
    generator = torch.Generator().manual_seed(3)
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        assert tensor is not None
        tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


def rows(count: int = 12, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn((count, channels, 2, 3), generator=generator, dtype=torch.float64) * 3 + 1


def slow(
    x: NDArray[np.float64], groups: int, weight: NDArray[np.float64], bias: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Output, mean of the groups' means, mean of their unbiased variances; one value at a time where it matters."""
    size = len(x) // groups
    out, means, variances = np.empty_like(x), np.zeros((groups, x.shape[1])), np.zeros((groups, x.shape[1]))
    for g in range(groups):
        for c in range(x.shape[1]):
            values = [float(v) for n in range(g * size, (g + 1) * size) for v in x[n, c].ravel()]
            mean = sum(values) / len(values)
            variance = sum((v - mean) ** 2 for v in values) / len(values)
            for n in range(g * size, (g + 1) * size):
                out[n, c] = (x[n, c] - mean) / np.sqrt(variance + EPS) * weight[c] + bias[c]
            means[g, c], variances[g, c] = mean, variance * len(values) / (len(values) - 1)
    return out, means.mean(axis=0), variances.mean(axis=0)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_split_takes_statistics_group_by_group(groups: int) -> None:
    norm, x = SplitBatchNorm2d(3, groups).double(), rows()
    made_up(norm)
    weight, bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    before_mean, before_var = (t.numpy().copy() for t in norm.buffers() if t.ndim)
    expected, mean, variance = slow(x.numpy(), groups, weight, bias)
    np.testing.assert_allclose(norm(x).detach().numpy(), expected, rtol=1e-10)
    after_mean, after_var = (t.numpy() for t in norm.buffers() if t.ndim)
    np.testing.assert_allclose(after_mean, (1 - SHARE) * before_mean + SHARE * mean, rtol=1e-12)
    np.testing.assert_allclose(after_var, (1 - SHARE) * before_var + SHARE * variance, rtol=1e-12)
    assert norm.num_batches_tracked is not None
    assert norm.num_batches_tracked.item() == 1


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_gradient_of_split_by_finite_differences(groups: int) -> None:
    norm = SplitBatchNorm2d(2, groups).double()
    made_up(norm)
    x = rows(6, 2).requires_grad_()

    def run(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (x,))
        return found

    assert torch.autograd.gradcheck(run, (x, norm.weight, norm.bias))


def test_a_group_does_not_see_the_others() -> None:
    """Four images of nine patches in two groups: what happens to the fourth image stays in the second group."""
    norm, patches = SplitBatchNorm2d(3, 2).double(), rows(36)
    changed = patches.clone()
    changed[27:] += 5
    same = [torch.equal(a, b) for a, b in zip(norm(patches), norm(changed), strict=True)]
    assert same == [True] * 18 + [False] * 18


def test_rows_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="10 rows do not divide into 4 groups"):
        SplitBatchNorm2d(3, 4)(torch.randn(10, 3, 2, 2))


@pytest.mark.parametrize("momentum", [0.1, 0.3, None])
@pytest.mark.parametrize(
    "make", [lambda m: SplitBatchNorm2d(3, 1, momentum=m), lambda m: SyncBatchNorm2d(3, momentum=m)], ids=["1", "sync"]
)
def test_alone_each_is_torchs_own(make: Callable[[float | None], nn.Module], momentum: float | None) -> None:
    """One group, or one process: output, gradient and statistics to the last bit, in training and after."""
    ours, torchs = make(momentum), nn.BatchNorm2d(3, momentum=momentum)
    for step in range(3):
        x = rows(8).float() + step
        one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
        assert torch.equal(ours(one), torchs(other))
        ours(one).square().sum().backward()
        torchs(other).square().sum().backward()
        assert torch.equal(one.grad if one.grad is not None else one, other.grad if other.grad is not None else x)
    for name, tensor in torchs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name
    assert torch.equal(ours.eval()(x), torchs.eval()(x))


@pytest.mark.parametrize("exchange", [lambda n: split(n, 2), synchronise], ids=["split", "sync"])
def test_names_and_tensors_stay(exchange: Callable[[nn.Module], None]) -> None:
    network = narrow_backbone().eval()
    before = network.state_dict(keep_vars=True)
    x = torch.randn(2, 3, 32, 32)
    expected = network(x)
    exchange(network)
    after = network.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is tensor for name, tensor in before.items())
    assert not any(type(m) is nn.BatchNorm2d for m in network.modules())
    assert not any(m.training for m in network.modules())
    assert all(torch.equal(a, b) for a, b in zip(network(x), expected, strict=True))


@pytest.mark.parametrize("exchange", [lambda n: split(n, 2), synchronise], ids=["split", "sync"])
def test_a_batch_norm_of_its_own_kind_is_refused(exchange: Callable[[nn.Module], None]) -> None:
    class BatchNormAct2d(nn.BatchNorm2d):
        pass

    with pytest.raises(InvalidDocument, match=r"method\.batch_norm.*BatchNormAct2d cannot be exchanged"):
        exchange(nn.Sequential(nn.Sequential(BatchNormAct2d(3))))


def test_knows_a_network_without_batch_norm() -> None:
    assert has_batch_norm(narrow_backbone())
    assert not has_batch_norm(nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4)))


def test_half_precision_in_half_precision_out() -> None:
    norm = SplitBatchNorm2d(3, 2)
    assert norm(rows().bfloat16()).dtype == torch.bfloat16
    assert norm.running_mean is not None
    assert norm.running_mean.dtype == torch.float32
