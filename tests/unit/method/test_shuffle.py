"""Dealing images out, alone; with two processes it is tested in tests/distributed."""

from typing import Literal

import pytest
import torch

from detco_core.contract.config import MethodConfig
from detco_core.method.shuffle import Deal, make_deal, mine


def test_one_process_keeps_its_images() -> None:
    x = torch.arange(6.0).reshape(3, 2)
    deal = make_deal(x, MethodConfig(batch_norm="shuffle"))
    assert deal.order is None
    assert deal.out(x) is x
    assert deal.back(x) is x
    assert mine(x) is not None
    assert torch.equal(mine(x), x)


@pytest.mark.parametrize("kind", ["shuffle", "sync", "plain"])
def test_who_does_not_deal_draws_no_random_number(kind: Literal["shuffle", "sync", "plain"]) -> None:
    before = torch.get_rng_state()
    assert make_deal(torch.zeros(8), MethodConfig(batch_norm=kind)).order is None
    assert torch.equal(before, torch.get_rng_state())


def test_virtual_groups_deal_among_themselves_anew_each_time() -> None:
    torch.manual_seed(0)
    config = MethodConfig(batch_norm="split")
    one, other = (make_deal(torch.zeros(64, 2), config).order for _ in range(2))
    assert one is not None
    assert other is not None
    assert sorted(one.tolist()) == sorted(other.tolist()) == list(range(64))
    assert not torch.equal(one, other)


def test_back_undoes_out() -> None:
    x = torch.arange(10.0).reshape(5, 2)
    deal = Deal(torch.tensor([3, 0, 4, 1, 2]))
    dealt = deal.out(x)
    assert torch.equal(dealt, x[[3, 0, 4, 1, 2]])
    assert torch.equal(deal.back(dealt), x)
