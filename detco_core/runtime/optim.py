"""The optimizer of pretraining: SGD with momentum and weight decay on every weight, as MoCo v2 has it."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from detco_core.contract.config import OptimConfig


def make_optimizer(parameters: Iterable[nn.Parameter], config: OptimConfig) -> torch.optim.SGD:
    """SGD over the parameters that require a gradient; its rate is set before each step."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return torch.optim.SGD(trained, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use `rate` for the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """L2 norm of all gradients together, as a scalar on their device."""
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
