"""A file fits the named network or is refused, with what disagrees and what it looks like."""

import pytest
import torch
from torch import Tensor
from torchvision import models

from detco_core.contract.errors import WeightsError
from detco_core.contract.weights import KeyReport
from detco_core.nets.backbone import make_backbone
from detco_core.nets.foreign.files import Opened
from detco_core.nets.foreign.fit import expected_tensors, fitted, require_complete
from detco_core.nets.foreign.layouts import recognise

State = dict[str, Tensor]


def fit(tensors: State, architecture: str = "resnet18") -> tuple[State, KeyReport]:
    expected = expected_tensors(architecture)
    found = recognise(Opened(tensors, "torch"), expected)
    assert found is not None
    return fitted("a.pth", architecture, expected, found, tensors)


def test_what_is_expected_has_no_memory_and_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    expected = expected_tensors("resnet18")
    assert torch.equal(torch.get_rng_state(), before)
    assert all(tensor.is_meta for tensor in expected.values())
    real = make_backbone("resnet18").state_dict()
    assert {name: (t.shape, t.dtype) for name, t in expected.items()} == {
        name: (t.shape, t.dtype) for name, t in real.items()
    }


def test_all_tensors_come_equal_and_independent_of_the_file(network: State, backbone_state: State) -> None:
    tensors, report = fit(network)
    assert list(tensors) == list(report.matched) == list(backbone_state)
    assert (report.missing, report.unexpected) == ((), ("fc.weight", "fc.bias"))
    for name, tensor in tensors.items():
        assert torch.equal(tensor, network[name])
        assert tensor.data_ptr() != network[name].data_ptr()


def test_halves_and_doubles_become_floats(network: State) -> None:
    for dtype in (torch.float16, torch.float64):
        other = {name: value.to(dtype) if value.is_floating_point() else value for name, value in network.items()}
        tensors, _ = fit(other)
        assert tensors["conv1.weight"].dtype == torch.float32
        assert torch.equal(tensors["conv1.weight"], network["conv1.weight"].to(dtype).float())


def test_a_network_for_other_channels_is_told_so(network: State) -> None:
    grey = network | {"conv1.weight": network["conv1.weight"][:, :1]}
    with pytest.raises(WeightsError, match=r"it takes images of other channels, .*: give channels as 1$"):
        fit(grey)


def test_counters_may_be_absent_and_are_zero_then(backbone_state: State) -> None:
    without = {name: value for name, value in backbone_state.items() if not name.endswith("num_batches_tracked")}
    tensors, report = fit(without)
    assert list(tensors) == list(backbone_state)
    assert report.missing == ()
    assert tensors["bn1.num_batches_tracked"].item() == 0
    assert "bn1.num_batches_tracked" not in report.matched


def test_missing_keys_are_reported_for_the_caller_to_judge(backbone_state: State) -> None:
    without = {name: value for name, value in backbone_state.items() if not name.startswith("layer4.1.conv2")}
    tensors, report = fit(without)
    assert report.missing == ("layer4.1.conv2.weight",)
    assert "layer4.1.conv2.weight" not in tensors
    with pytest.raises(WeightsError, match=r"a\.pth lacks 1 keys of resnet18 \(layer4\.1\.conv2\.weight\): .*strict"):
        require_complete("a.pth", "resnet18", report)
    require_complete("a.pth", "resnet18", KeyReport(matched=(), missing=(), unexpected=("fc.weight",)))


@pytest.mark.parametrize(
    ("held", "named", "reason"),
    [
        ("resnet18", "resnet50", r"layer1\.0\.conv1\.weight is \[64, 64, 3, 3\], not \[64, 64, 1, 1\]"),
        ("resnet34", "resnet18", r"layer1\.2\.conv1\.weight is too much"),
        ("resnet18", "resnet34", r"layer1\.2\.conv1\.weight is missing"),
        ("resnet50", "wide_resnet50_2", r"layer1\.0\.conv1\.weight is \[64, 64, 1, 1\], not \[128, 64, 1, 1\]"),
        ("resnext50_32x4d", "resnet50", r"layer1\.0\.conv1\.weight is \[128, 64, 1, 1\], not"),
    ],
)
def test_another_network_is_refused_by_its_first_keys_and_named(held: str, named: str, reason: str) -> None:
    with torch.device("meta"):
        state = models.get_model(held).state_dict()
    with pytest.raises(WeightsError, match=rf"a\.pth does not hold {named}: {reason}.*; it looks like {held}$"):
        fit(state, named)


def test_a_network_nobody_knows_is_refused_as_such(backbone_state: State) -> None:
    deep_stem = backbone_state | {"conv1.0.weight": torch.ones(32, 3, 3, 3)}
    del deep_stem["conv1.weight"]
    with pytest.raises(WeightsError, match=r"conv1\.0\.weight is too much; it looks like no network known here"):
        fit(deep_stem)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_diverged_weights_are_refused(backbone_state: State, value: float) -> None:
    spoilt = backbone_state | {"bn1.running_var": torch.full((64,), value)}
    with pytest.raises(WeightsError, match=r"bn1\.running_var holds NaN or infinity"):
        fit(spoilt)


def test_a_tensor_expanded_from_nothing_takes_no_memory(backbone_state: State) -> None:
    """A file of a few bytes may claim any shape; it is looked at before it is copied."""
    huge = backbone_state | {"conv1.weight": torch.zeros(1).expand(2**40, 3, 7, 7)}
    with pytest.raises(WeightsError, match=r"conv1\.weight is \[1099511627776, 3, 7, 7\]"):
        fit(huge)
