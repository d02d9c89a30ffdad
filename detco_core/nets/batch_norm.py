"""Batch norms that take their statistics over other company than the tensor they are given.

With `split` over virtual groups of it, with `sync` over the same tensor in all processes. Each replaces torch's
`BatchNorm2d` in a network that is built: parameters and buffers stay the same objects under the same names, so a
checkpoint does not show which ran, and in eval mode all are the same function.

R rows of the tensor (images, or patches of images, those of an image together), C channels, W processes.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.runtime import distributed


class SplitBatchNorm2d(nn.BatchNorm2d):
    """Statistics per group of R / `groups` consecutive rows, as if each group were on a GPU of its own.

    MoCo's authors advise it where one GPU must stand in for many. Running statistics move once, towards the mean of
    the groups' means and the mean of their (unbiased) variances.
    """

    def __init__(self, num_features: int, groups: int, **options: Any) -> None:
        super().__init__(num_features, **options)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """`[R, C, H, W]` to the same.

        Raises:
            ValueError: the rows do not divide into `groups`.
        """
        if not self.training:
            return super().forward(x)
        if x.shape[0] % self.groups:
            raise ValueError(f"{x.shape[0]} rows do not divide into {self.groups} groups of batch norm")
        running, share = _running(self), _count(self)
        parts, means, variances = [], [], []
        for part in x.chunk(self.groups):
            mean, variance = (statistic.clone() for statistic in running)
            parts.append(functional.batch_norm(part, mean, variance, self.weight, self.bias, True, share, self.eps))
            means.append(mean)
            variances.append(variance)
        for statistic, moved in zip(running, (means, variances), strict=True):
            statistic.copy_(torch.stack(moved).mean(dim=0))
        return torch.cat(parts)


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Statistics over all processes, which must bring equally many rows: torch's own on a GPU, ours on the CPU.

    torch's refuses CPU tensors in training. Ours is made of plain operations and two all-reduces whose backward is an
    all-reduce as well, so that its gradient is that of one process with all rows.
    """

    # DDP refuses a subclass of torch's SyncBatchNorm on the CPU; its forward needs no more of it than these two.
    process_group = None
    _check_non_zero_input_channels = nn.SyncBatchNorm._check_non_zero_input_channels

    def forward(self, x: Tensor) -> Tensor:
        """`[R, C, H, W]` to the same."""
        if self.training and x.device.type == "cpu" and distributed.world_size() > 1:
            return self._over_all_processes(x)
        synchronised: Tensor = nn.SyncBatchNorm.forward(self, x)  # type: ignore[arg-type]  # see above
        return synchronised

    def _over_all_processes(self, x: Tensor) -> Tensor:
        # Statistics in the weights' precision, also when autocast computes in bfloat16.
        exact = x.to(self.weight.dtype)
        mean = mean_of_processes(exact.mean(dim=(0, 2, 3)))
        away = exact - mean[:, None, None]
        variance = mean_of_processes(away.square().mean(dim=(0, 2, 3)))
        count = distributed.world_size() * x.numel() // x.shape[1]
        (running_mean, running_var), share = _running(self), _count(self)
        with torch.no_grad():
            running_mean.lerp_(mean, share)
            running_var.lerp_(variance * count / (count - 1), share)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (away * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class _SumOfProcesses(torch.autograd.Function):
    """All-reduce forward; and backward, since what a process adds counts in the losses of all."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return _all_reduced(x)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return _all_reduced(gradient)


def mean_of_processes(x: Tensor) -> Tensor:
    """Average of `x` over all processes, with its gradient; the gradient is of the sum of the processes' losses."""
    total: Tensor = _SumOfProcesses.apply(x)
    return total / distributed.world_size()


def split(network: nn.Module, groups: int) -> None:
    """Let every batch norm in `network` take its statistics per group.

    Raises:
        InvalidDocument: it has one that is not torch's own.
    """
    _replace(network, lambda old: SplitBatchNorm2d(old.num_features, groups, **_options(old)))


def synchronise(network: nn.Module) -> None:
    """Let every batch norm in `network` take its statistics over all processes.

    Raises:
        InvalidDocument: it has one that is not torch's own.
    """
    _replace(network, lambda old: SyncBatchNorm2d(old.num_features, **_options(old)))


def has_batch_norm(network: nn.Module) -> bool:
    """Whether any layer of `network` depends on batch statistics."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def _replace(network: nn.Module, make: Callable[[nn.BatchNorm2d], nn.Module]) -> None:
    for name, child in network.named_children():
        if type(child) is nn.BatchNorm2d:
            new = make(child)
            for key, tensor in (*child.named_parameters(), *child.named_buffers()):
                setattr(new, key, tensor)
            setattr(network, name, new.train(child.training))
        elif isinstance(child, nn.modules.batchnorm._BatchNorm):
            kind = f"{type(child).__module__}.{type(child).__name__}"
            message = f"the backbone's {kind} cannot be exchanged: set shuffle or plain, or take another backbone"
            raise InvalidDocument("run config", (Fault("method.batch_norm", message),))
        else:
            _replace(child, make)


def _options(old: nn.BatchNorm2d) -> dict[str, Any]:
    return {"eps": old.eps, "momentum": old.momentum}


def _running(norm: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, Tensor]:
    """Mean and variance, which change in place."""
    assert norm.running_mean is not None  # noqa: S101 - only layers with running statistics are exchanged
    assert norm.running_var is not None  # noqa: S101
    return norm.running_mean, norm.running_var


def _count(norm: nn.modules.batchnorm._BatchNorm) -> float:
    """Count one batch; the share of it in the running statistics."""
    assert norm.num_batches_tracked is not None  # noqa: S101 - only layers with running statistics are exchanged
    norm.num_batches_tracked.add_(1)
    return norm.momentum if norm.momentum is not None else 1.0 / norm.num_batches_tracked.item()


def _all_reduced(x: Tensor) -> Tensor:
    total = x.clone()
    dist.all_reduce(total)
    return total
