"""Backbones by name."""

import pytest
import torch
from torch import Tensor

from detco_core.contract.errors import InvalidDocument
from detco_core.nets.backbone import make_backbone


def test_same_seed_same_weights() -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        weight: Tensor = make_backbone("resnet18").state_dict()["conv1.weight"]
        return weight

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_takes_the_channels_asked_for() -> None:
    assert make_backbone("resnet18", 4).in_channels == 4


def test_names_with_a_prefix_are_of_timm() -> None:
    with torch.device("meta"):
        assert make_backbone("timm/resnet18").state_dict().keys() == make_backbone("resnet18").state_dict().keys()


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(InvalidDocument, match=r"method\.backbone.*'vit_b_16'.*resnet50.*timm/"):
        make_backbone("vit_b_16")
