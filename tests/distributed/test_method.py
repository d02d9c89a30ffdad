"""Two processes against each other, and against one that has the whole batch, in float64."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.distributed.steps import config, make, make_without_batch_norm, train
from tests.distributed.sync_layer import one_layer

pytestmark = pytest.mark.slow
Run = Callable[..., subprocess.CompletedProcess[str]]
RUNS = ("shuffle", "sync", "plain", "off", "off, cut in two", "off, not shuffled", "none")
RTOL, ATOL = 1e-7, 1e-10
"""Sums in another order, over three steps."""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory, torchrun: Run) -> list[dict[str, Any]]:
    """What both processes of two_ranks.py saw."""
    folder = tmp_path_factory.mktemp("ranks")
    done = torchrun(str(Path(__file__).with_name("two_ranks.py")), str(folder))
    assert done.returncode == 0, done.stdout
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(2)]


def assert_same_training(found: dict[str, Any], expected: dict[str, Any], *, statistics: bool = True) -> None:
    """Losses, weights, every queue in the order of the one batch, and, where asked, batch norm's statistics."""
    assert found["losses"] == pytest.approx(expected["losses"], rel=1e-9)
    for name, value in found["state"].items():
        if statistics or "running_" not in name:
            torch.testing.assert_close(value, expected["state"][name], rtol=RTOL, atol=ATOL, msg=name)


def test_collectives_agree_and_keep_rank_order(ranks: list[dict[str, Any]]) -> None:
    one, other = (rank["collectives"] for rank in ranks)
    rows = torch.arange(6.0).reshape(3, 2)
    for rank, found in enumerate((one, other)):
        assert found["world"] == 2
        assert torch.equal(found["gathered"], torch.cat([rows, rows + 10]))
        assert found["gathered_last"].shape == (6, 2, 2)
        assert torch.equal(found["gathered_last"][:, 0], found["gathered"])
        assert torch.equal(found["mean"], rows + 5)
        assert torch.equal(found["mine"], rows + 10 * rank)
        assert found["any"] == [True, False]
        assert found["collected"] == [{"rank": 0}, {"rank": 1}]
        assert found["first"].item() == 5


def test_images_are_dealt_alike_and_come_back_in_order(ranks: list[dict[str, Any]]) -> None:
    one, other = (rank["collectives"] for rank in ranks)
    assert torch.equal(one["order"], other["order"])
    assert sorted(one["order"].tolist()) == list(range(6))
    assert torch.equal(torch.cat([one["dealt"], other["dealt"]]), one["gathered"][one["order"]])
    for found in (one, other):
        assert torch.equal(found["back"], found["gathered"])


def test_sync_batch_norm_of_halves_is_batch_norm_of_the_whole(ranks: list[dict[str, Any]]) -> None:
    """Output, gradient of input and weights, and statistics; a weight's gradient is the sum over processes."""
    expected, one, other = one_layer(nn.BatchNorm2d(3)), ranks[0]["layer"], ranks[1]["layer"]
    for name, value in expected.items():
        if name in ("out", "x.grad"):
            torch.testing.assert_close(torch.cat([one[name], other[name]]), value, rtol=1e-9, atol=1e-12, msg=name)
        elif name.endswith(".grad"):
            torch.testing.assert_close(one[name] + other[name], value, rtol=1e-9, atol=1e-12, msg=name)
        else:
            assert torch.equal(one[name], other[name]), name
            torch.testing.assert_close(one[name], value, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("run", RUNS)
def test_weights_and_queues_are_equal_in_both_processes(ranks: list[dict[str, Any]], run: str) -> None:
    one, other = (rank[run]["state"] for rank in ranks)
    for name, value in one.items():
        # But for SyncBN, batch norm's running statistics are each process's own.
        if "running_" not in name or run == "sync":
            assert torch.equal(value, other[name]), name
    assert one["queues.pointer"].item() == 8 * 3
    assert ranks[0][run]["losses"] == ranks[1][run]["losses"]


@pytest.mark.parametrize("run", ["off", "off, cut in two", "off, not shuffled"])
def test_two_processes_equal_one_without_batch_statistics(ranks: list[dict[str, Any]], run: str) -> None:
    assert_same_training(ranks[0][run], train(make(config()).eval(), 3))


def test_two_processes_equal_one_without_any_batch_norm(ranks: list[dict[str, Any]]) -> None:
    assert_same_training(ranks[0]["none"], train(make_without_batch_norm(), 3, patch=32))
    assert ranks[0]["none"]["batch_norm"] == "none: the network has no batch norm"


def test_two_processes_with_sync_batch_norm_equal_one(ranks: list[dict[str, Any]]) -> None:
    assert_same_training(ranks[0]["sync"], train(make(config(method__batch_norm="plain")), 3))
    assert ranks[0]["sync"]["batch_norm"] == "sync, over 8 of 8 images in 2 processes, keys not shuffled"


def test_two_processes_that_shuffle_equal_one_with_two_virtual_groups(ranks: list[dict[str, Any]]) -> None:
    """Split BN stands in for shuffle BN to the digit, but that its statistics are of all groups, not of rank 0's."""
    split = train(make(config(method__batch_norm="split", method__batch_norm_group=4)), 3)
    assert_same_training(ranks[0]["shuffle"], split, statistics=False)
    for name in ("running_mean", "running_var"):
        key = f"query.backbone.bn1.{name}"
        mean = (ranks[0]["shuffle"]["state"][key] + ranks[1]["shuffle"]["state"][key]) / 2
        torch.testing.assert_close(split["state"][key], mean, rtol=RTOL, atol=ATOL)


def test_what_batch_norm_sees_shows_in_the_numbers_and_in_the_record(ranks: list[dict[str, Any]]) -> None:
    losses = {run: ranks[0][run]["losses"][0] for run in ("shuffle", "sync", "plain")}
    assert len({round(loss, 6) for loss in losses.values()}) == 3, losses
    sentences = {run: ranks[0][run]["batch_norm"] for run in ("shuffle", "plain")}
    assert sentences == {
        "shuffle": "per process, over 4 of 8 images, keys shuffled across processes; statistics saved are rank 0's",
        "plain": "per process, over 4 of 8 images, keys not shuffled; statistics saved are rank 0's",
    }
    one, other = (rank["shuffle"]["state"]["query.backbone.bn1.running_mean"] for rank in ranks)
    assert not torch.equal(one, other)
