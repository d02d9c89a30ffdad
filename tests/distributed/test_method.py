"""Two processes against each other, and against one that has the whole batch."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from detco_core.contract.config import override
from detco_core.contract.presets import preset
from detco_core.method.detco import make_detco
from detco_core.views.pipeline import Views

pytestmark = pytest.mark.slow
Run = Callable[..., subprocess.CompletedProcess[str]]
BATCH = 8


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory, torchrun: Run) -> list[dict[str, Any]]:
    """What both processes of two_ranks.py saw."""
    folder = tmp_path_factory.mktemp("ranks")
    done = torchrun(str(Path(__file__).with_name("two_ranks.py")), str(folder))
    assert done.returncode == 0, done.stdout
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """The same two steps in one process, without batch statistics."""
    small = {"train.batch_size": BATCH, "method.queue_size": 32, "method.dim": 8, "method.local_head": "pirl"}
    torch.manual_seed(0)
    method = make_detco(override(preset("smoke"), small)).double().eval()
    optimizer = torch.optim.SGD(method.query.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for step in range(2):
        generator = torch.Generator().manual_seed(step)
        shapes = (BATCH, 3, 32, 32), (BATCH, 3, 32, 32), (BATCH, 9, 3, 16, 16), (BATCH, 9, 3, 16, 16)
        method.move_key(0.999)
        output = method(Views(*(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)))
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        method.enqueue([output.keys])
        losses.append(output.loss.item())
    return {"losses": losses, "state": method.state_dict()}


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


@pytest.mark.parametrize("run", ["shuffled", "frozen", "unshuffled"])
def test_weights_and_queues_are_equal_in_both_processes(ranks: list[dict[str, Any]], run: str) -> None:
    one, other = (rank[run]["state"] for rank in ranks)
    for name, value in one.items():
        # Batch norm's running statistics are each process's own.
        if "running_" not in name:
            assert torch.equal(value, other[name]), name
    assert one["queues.pointer"].item() == 8 * (3 if run == "shuffled" else 2)


def test_batch_statistics_are_each_process_own(ranks: list[dict[str, Any]]) -> None:
    one, other = (rank["shuffled"]["state"]["query.backbone.bn1.running_mean"] for rank in ranks)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("run", ["frozen", "unshuffled"])
def test_two_processes_equal_one_without_batch_statistics(
    ranks: list[dict[str, Any]], alone: dict[str, Any], run: str
) -> None:
    """Losses, every weight after two steps, and every queue in the order of the one batch; shuffled or not."""
    found = ranks[0][run]
    assert found["losses"] == pytest.approx(alone["losses"], rel=1e-9)
    expected: dict[str, Tensor] = alone["state"]
    for name, value in found["state"].items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-9, msg=name)
