"""Dealing images out, alone; with two processes it is tested in tests/distributed."""

import torch

from detco_core.method.shuffle import Deal, make_deal, mine


def test_one_process_keeps_its_images() -> None:
    x = torch.arange(6.0).reshape(3, 2)
    deal = make_deal(3, shuffle=True)
    assert deal.order is None
    assert deal.out(x) is x
    assert deal.back(x) is x
    assert mine(x) is not None
    assert torch.equal(mine(x), x)


def test_one_process_draws_no_random_number() -> None:
    before = torch.get_rng_state()
    make_deal(8, shuffle=True)
    assert torch.equal(before, torch.get_rng_state())


def test_back_undoes_out() -> None:
    x = torch.arange(10.0).reshape(5, 2)
    deal = Deal(torch.tensor([3, 0, 4, 1, 2]))
    dealt = deal.out(x)
    assert torch.equal(dealt, x[[3, 0, 4, 1, 2]])
    assert torch.equal(deal.back(dealt), x)
