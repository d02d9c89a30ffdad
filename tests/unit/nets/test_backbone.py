"""The tapped ResNet against torchvision's own feature extraction."""

import pytest
import torch
from torch import Tensor
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

from detco_core.contract.errors import InvalidDocument
from detco_core.nets.backbone import StageBackbone, architectures, make_backbone


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (33, 40)])
def test_equals_torchvision_at_every_stage(size: tuple[int, int]) -> None:
    network = models.resnet18().eval()
    taps = {f"layer{n}": f"res{n + 1}" for n in range(1, 5)}
    reference = create_feature_extractor(network, taps).eval()
    image = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected, maps = reference(image), StageBackbone("resnet18", network)(image)
    for stage, found in zip(taps.values(), maps, strict=True):
        assert torch.equal(found, expected[stage])


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2"])
def test_names_channels_and_strides(name: str) -> None:
    with torch.device("meta"):
        backbone = make_backbone(name)
        reference = models.get_model(name)
        maps = backbone(torch.empty(1, 3, 70, 90))
    expected = {key: value.shape for key, value in reference.state_dict().items() if not key.startswith("fc.")}
    assert {key: value.shape for key, value in backbone.state_dict().items()} == expected
    assert backbone.architecture == name
    for channels, stride, found in zip(backbone.channels, backbone.strides, maps, strict=True):
        assert found.shape == (1, channels, -(-70 // stride), -(-90 // stride))


def test_loads_torchvision_weights_by_name() -> None:
    network = models.resnet18()
    backbone = make_backbone("resnet18")
    missing = backbone.load_state_dict(network.state_dict(), strict=False)
    assert missing.missing_keys == []
    assert missing.unexpected_keys == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_depth_leaves_the_rest_alone(depth: int) -> None:
    backbone = make_backbone("resnet18").eval()
    ran: list[Tensor] = []
    for stage in backbone.stages[depth:]:
        stage.register_forward_hook(lambda _, __, out: ran.append(out))
    with torch.no_grad():
        maps = backbone(torch.randn(1, 3, 32, 32), depth=depth)
    assert len(maps) == depth
    assert not ran


def test_same_seed_same_weights() -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        weight: Tensor = make_backbone("resnet18").state_dict()["conv1.weight"]
        return weight

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(InvalidDocument, match=r"method\.backbone.*'vit_b_16'.*resnet50"):
        make_backbone("vit_b_16")
    assert "resnet18" in architectures()
    assert "vit_b_16" not in architectures()
