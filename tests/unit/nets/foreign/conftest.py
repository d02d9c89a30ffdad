"""One ResNet-18 whose every tensor is its own, and the ways other programs would have written it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision import models

State = dict[str, Tensor]


@pytest.fixture(scope="session")
def network() -> State:
    """torchvision's whole ResNet-18, `fc` included, with batch norm that has seen something."""
    torch.manual_seed(3)
    state = models.resnet18().state_dict()
    return {
        name: torch.tensor(7) if name.endswith("tracked") else value + 0.1 * torch.rand_like(value)
        for name, value in state.items()
    }


@pytest.fixture(scope="session")
def backbone_state(network: State) -> State:
    return {name: value for name, value in network.items() if not name.startswith("fc.")}


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[object], Path]:
    """An object as `torch.save` writes it."""

    def save(content: object, name: str = "weights.pth", **options: bool) -> Path:
        torch.save(content, tmp_path / name, **options)
        return tmp_path / name

    return save
