"""The arithmetic of a run against figures counted elsewhere."""

from dataclasses import replace

import pytest

from detco_core.contract.config import RunConfig, override
from detco_core.contract.cost import cost
from detco_core.contract.presets import preset


@pytest.mark.parametrize(
    ("name", "gflops"), [("detco_r50", 56.7), ("moco_v2_r50", 32.7), ("detco_r18", 25.1), ("moco_v2_r18", 14.5)]
)
def test_operations_an_image(name: str, gflops: float) -> None:
    found = cost(preset(name))
    assert found is not None
    assert found.flops_per_image / 1e9 == pytest.approx(gflops, rel=0.01)


def test_checkpoint_of_detco_r50_by_hand() -> None:
    channels, dim, queue = (256, 512, 1024, 2048), 128, 65536
    heads = sum(c * c + c * dim for c in channels) + sum(9 * c * c + c * dim for c in channels)
    assert heads == pytest.approx(6.07e6 + 50.6e6, rel=0.01)
    numbers = 3 * (23.51e6 + heads) + 8 * dim * queue
    found = cost(preset("detco_r50"))
    assert found is not None
    assert found.checkpoint_bytes == pytest.approx(4 * numbers, rel=1e-6)


def test_memory_grows_with_the_batch_of_one_process() -> None:
    config = preset("detco_r50")
    whole, halves = cost(config, gpus=1), cost(config, gpus=2)
    smaller = cost(override(config, {"train.batch_size": 128}), gpus=1)
    assert whole is not None
    assert halves is not None
    assert halves == smaller
    assert halves.memory_bytes < whole.memory_bytes
    assert halves.checkpoint_bytes == whole.checkpoint_bytes


def test_micro_batches_save_activations_and_nothing_else() -> None:
    whole, cut = cost(preset("detco_r50")), cost(override(preset("detco_r50"), {"train.accumulate": 4}))
    assert whole is not None
    assert cut is not None
    one_by_one = cost(override(preset("detco_r50"), {"train.accumulate": 256}))
    assert one_by_one is not None
    activations = (whole.memory_bytes - cut.memory_bytes) / (1 - 1 / 4)
    assert one_by_one.memory_bytes == pytest.approx(whole.memory_bytes - activations * (1 - 1 / 256), rel=1e-6)
    assert (cut.flops_per_image, cut.checkpoint_bytes) == (whole.flops_per_image, whole.checkpoint_bytes)


@pytest.mark.parametrize(("size", "patch", "region"), [(448, 128, 510), (112, 32, 129)])
def test_operations_grow_with_the_pixels(size: int, patch: int, region: int) -> None:
    sizes = {"views.global_size": size, "views.patch_size": patch, "views.local_size": region}
    usual, other = cost(preset("detco_r50")), cost(override(preset("detco_r50"), sizes))
    assert usual is not None
    assert other is not None
    assert other.flops_per_image == pytest.approx(usual.flops_per_image * (size / 224) ** 2)


def test_timm_has_the_same_resnets() -> None:
    assert cost(override(preset("detco_r18"), {"method.backbone": "timm/resnet18"})) == cost(preset("detco_r18"))


@pytest.mark.parametrize("head", ["wide", "pirl"])
def test_local_heads_differ_in_size(head: str) -> None:
    narrow, other = cost(preset("detco_r50")), cost(override(preset("detco_r50"), {"method.local_head": head}))
    assert narrow is not None
    assert other is not None
    assert (other.checkpoint_bytes > narrow.checkpoint_bytes) == (head == "wide")


def test_unknown_backbone_has_no_figures() -> None:
    config = RunConfig()
    assert cost(replace(config, method=replace(config.method, backbone="convnext_tiny"))) is None
