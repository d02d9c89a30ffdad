"""The tapped ResNet against torchvision's own feature extraction."""

import pytest
import torch
from torch import Tensor
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

from detco_core.nets.resnet import ResNetBackbone, make_resnet, resnets


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (33, 40)])
def test_equals_torchvision_at_every_stage(size: tuple[int, int]) -> None:
    network = models.resnet18().eval()
    taps = {f"layer{n}": f"res{n + 1}" for n in range(1, 5)}
    reference = create_feature_extractor(network, taps).eval()
    image = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected, maps = reference(image), ResNetBackbone("resnet18", network)(image)
    for stage, found in zip(taps.values(), maps, strict=True):
        assert torch.equal(found, expected[stage])


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101", "resnext50_32x4d", "wide_resnet50_2"])
def test_names_channels_and_strides(name: str) -> None:
    with torch.device("meta"):
        backbone = make_resnet(name, 3)
        reference = models.get_model(name)
        maps = backbone(torch.empty(1, 3, 70, 90))
    expected = {key: value.shape for key, value in reference.state_dict().items() if not key.startswith("fc.")}
    assert {key: value.shape for key, value in backbone.state_dict().items()} == expected
    assert backbone.architecture == name
    for channels, stride, found in zip(backbone.channels, backbone.strides, maps, strict=True):
        assert found.shape == (1, channels, -(-70 // stride), -(-90 // stride))


def test_loads_torchvision_weights_by_name() -> None:
    network = models.resnet18()
    missing = make_resnet("resnet18", 3).load_state_dict(network.state_dict(), strict=False)
    assert missing.missing_keys == []
    assert missing.unexpected_keys == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_depth_leaves_the_rest_alone(depth: int) -> None:
    backbone = make_resnet("resnet18", 3).eval()
    ran: list[Tensor] = []
    for stage in backbone.stages[depth:]:
        stage.register_forward_hook(lambda _, __, out: ran.append(out))
    maps = backbone(torch.randn(1, 3, 32, 32), depth=depth)
    assert len(maps) == depth
    assert not ran
    maps[-1].sum().backward()
    unused = {id(weight) for weight in backbone.parameters() if weight.grad is None}
    assert {id(weight) for weight in backbone.idle(depth)} == unused


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_other_channels_change_the_first_convolution_only(channels: int) -> None:
    backbone, usual = make_resnet("resnet18", channels), make_resnet("resnet18", 3)
    assert backbone.in_channels == channels
    assert backbone.conv1.weight.shape == (64, channels, 7, 7)
    # The spread torchvision's initialisation gives: sqrt(2 / (64 * 7 * 7)), whatever the channels.
    assert backbone.conv1.weight.std().item() == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.05)
    shapes = {name: value.shape for name, value in backbone.state_dict().items()}
    assert {n for n, v in usual.state_dict().items() if v.shape != shapes[n]} == {"conv1.weight"}
    with torch.no_grad():
        assert backbone.eval()(torch.randn(1, channels, 32, 32))[3].shape == (1, 512, 1, 1)


def test_all_of_the_three_families() -> None:
    assert {"resnet18", "resnet152", "resnext101_64x4d", "wide_resnet101_2"} <= set(resnets())
