"""What a run carries over a stop."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from detco_core.contract.config import RunConfig
from detco_core.contract.errors import CheckpointError
from detco_core.method.catalog import make_method
from detco_core.runtime.device import make_scaler
from detco_core.runtime.optim import make_optimizer
from detco_core.train.state import Stateful, collect, restore

Configs = Callable[..., RunConfig]


def build(config: RunConfig, seed: int) -> Stateful:
    torch.manual_seed(seed)
    method = make_method(config)
    optimizer = make_optimizer(method.query.parameters(), config.optim)
    return Stateful(method=method, optimizer=optimizer, scaler=make_scaler(config.device, torch.device("cpu")))


def train_a_little(run: Stateful) -> None:
    for weight in run.method.query.parameters():
        weight.grad = torch.randn_like(weight)
    run.optimizer.step()
    run.method.queues.pointer += 4


def test_all_of_it_comes_back_through_a_file(tiny_config: Configs, tmp_path: Path) -> None:
    config = tiny_config(device__precision="fp16")
    one, other = build(config, 0), build(config, 1)
    train_a_little(one)
    one.scaler.scale(torch.ones(()))
    one.scaler.update(1234.0)
    torch.save(collect(one), tmp_path / "state.pt")
    expected = torch.rand(3)
    restore(other, torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(torch.rand(3), expected)
    theirs = other.method.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in one.method.state_dict().items())
    assert other.scaler.get_scale() == 1234.0
    momenta = [run.optimizer.state_dict()["state"] for run in (one, other)]
    assert momenta[0].keys() == momenta[1].keys()
    for key, value in momenta[0].items():
        assert torch.equal(value["momentum_buffer"], momenta[1][key]["momentum_buffer"])


def test_random_numbers_of_every_process_are_kept(tiny_config: Configs) -> None:
    assert len(collect(build(tiny_config(), 0))["random"]) == 1


@pytest.mark.parametrize("change", [{"method__dim": 16}, {"method__queue_size": 12}, {"method__local_head": "narrow"}])
def test_another_network_is_refused(tiny_config: Configs, change: dict[str, object]) -> None:
    state = collect(build(tiny_config(), 0))
    with pytest.raises(CheckpointError, match="does not fit this run"):
        restore(build(tiny_config(**change), 0), state)


def test_a_state_with_a_part_missing_is_refused(tiny_config: Configs) -> None:
    state = collect(build(tiny_config(), 0))
    del state["optimizer"]
    with pytest.raises(CheckpointError, match="does not fit this run"):
        restore(build(tiny_config(), 0), state)
