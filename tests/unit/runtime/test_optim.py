"""SGD with momentum and weight decay against the update written out."""

import pytest
import torch
from torch import nn

from detco_core.contract.config import OptimConfig
from detco_core.runtime.optim import gradient_norm, make_optimizer, set_learning_rate


def test_updates_as_written_out() -> None:
    config = OptimConfig(lr=0.1, momentum=0.9, weight_decay=0.01)
    weight = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = make_optimizer([weight], config)
    expected, velocity = [1.0, -2.0], [0.0, 0.0]
    for step, rate in enumerate((0.1, 0.05, 0.02)):
        gradients = [0.5 + step, -0.25]
        weight.grad = torch.tensor(gradients, dtype=torch.float64)
        set_learning_rate(optimizer, rate)
        optimizer.step()
        for i in range(2):
            velocity[i] = 0.9 * velocity[i] + gradients[i] + 0.01 * expected[i]
            expected[i] -= rate * velocity[i]
    assert weight.tolist() == pytest.approx(expected, rel=1e-12)


def test_frozen_weights_are_left_out() -> None:
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    groups = make_optimizer(layer.parameters(), OptimConfig()).param_groups
    assert [weight.shape for group in groups for weight in group["params"]] == [(2, 2)]


def test_gradient_norm_is_over_all_weights_together() -> None:
    layer = nn.Linear(2, 1)
    layer.weight.grad, layer.bias.grad = torch.tensor([[2.0, 3.0]]), torch.tensor([6.0])
    assert gradient_norm(layer.parameters()).item() == pytest.approx(7.0)
