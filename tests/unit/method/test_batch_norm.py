"""Which batch norm a config puts into a network, and what the record says of it; two processes: tests/distributed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from detco_core.contract.config import RunConfig
from detco_core.contract.errors import InvalidDocument
from detco_core.method.batch_norm import describe_batch_norm, fit_batch_norm, require_two_values
from detco_core.nets.batch_norm import SplitBatchNorm2d, SyncBatchNorm2d
from tests.networks import narrow_backbone

Configs = Callable[..., RunConfig]


def kinds(network: nn.Module) -> set[type[nn.Module]]:
    return {type(m) for m in network.modules() if isinstance(m, nn.BatchNorm2d)}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("shuffle", nn.BatchNorm2d), ("plain", nn.BatchNorm2d), ("split", SplitBatchNorm2d), ("sync", SyncBatchNorm2d)],
)
def test_the_kind_asked_for_runs(small_config: Configs, kind: str, expected: type[nn.Module]) -> None:
    network = narrow_backbone()
    fit_batch_norm(network, small_config(method__batch_norm=kind, method__batch_norm_group=2))
    assert kinds(network) == {expected}


@pytest.mark.parametrize(("accumulate", "group", "groups"), [(1, 2, 4), (1, 4, 2), (2, 2, 2), (4, 2, 1)])
def test_groups_are_of_what_is_computed_at_once(
    small_config: Configs, accumulate: int, group: int, groups: int
) -> None:
    network = narrow_backbone()
    overrides: dict[str, Any] = {"train__batch_size": 8, "train__accumulate": accumulate}
    fit_batch_norm(network, small_config(**overrides, method__batch_norm="split", method__batch_norm_group=group))
    assert {m.groups for m in network.modules() if isinstance(m, SplitBatchNorm2d)} == {groups}


def test_images_that_do_not_divide_into_groups_are_refused(small_config: Configs) -> None:
    with pytest.raises(InvalidDocument, match=r"method\.batch_norm_group: must divide the 4 images computed at once"):
        small_config(train__batch_size=16, train__accumulate=4, method__batch_norm="split", method__batch_norm_group=8)


@pytest.mark.parametrize("kind", ["shuffle", "sync", "plain"])
@pytest.mark.parametrize(
    ("batch", "accumulate", "size", "refused"),
    [(1, 1, 32, True), (4, 4, 32, True), (1, 1, 33, False), (2, 1, 32, False), (4, 2, 32, False)],
)
def test_batch_norm_of_a_single_value_is_refused_as_torch_would(
    small_config: Configs, kind: str, batch: int, accumulate: int, size: int, refused: bool
) -> None:
    config = small_config(
        train__batch_size=batch, train__accumulate=accumulate, views__global_size=size, method__batch_norm=kind
    )
    images = torch.zeros(batch // accumulate, 3, size, size)
    if not refused:
        require_two_values(narrow_backbone(), config)
        narrow_backbone()(images)
        return
    with pytest.raises(InvalidDocument, match=rf"train\.batch_size: one image at once, of which {size} pixels"):
        require_two_values(narrow_backbone(), config)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        narrow_backbone()(images)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"batch_norm": "shuffle"}, "plain, over all 4 images; shuffle BN has no effect with one process"),
        ({"batch_norm": "plain"}, "plain, over all 4 images"),
        ({"batch_norm": "sync"}, "plain, over all 4 images; SyncBN has no effect with one process"),
        (
            {"batch_norm": "split", "batch_norm_group": 2},
            "split, over virtual groups of 2 of 4 images, keys shuffled among them",
        ),
    ],
)
def test_the_record_says_what_runs(small_config: Configs, overrides: dict[str, Any], sentence: str) -> None:
    config = small_config(**{f"method__{key}": value for key, value in overrides.items()})
    network = narrow_backbone()
    fit_batch_norm(network, config)
    assert describe_batch_norm(network, config) == sentence


def test_micro_batches_are_what_batch_norm_sees(small_config: Configs) -> None:
    config = small_config(train__accumulate=2, method__batch_norm="plain")
    assert describe_batch_norm(narrow_backbone(), config) == "plain, over all 2 images"


def test_the_record_knows_a_network_without(small_config: Configs) -> None:
    assert describe_batch_norm(nn.Conv2d(3, 4, 1), small_config()) == "none: the network has no batch norm"
