"""What each of two processes does and sees; run by torchrun from test_method.py, which reads what it leaves.

Usage: two_ranks.py FOLDER. Each rank writes FOLDER/rank-R.pt.
"""

import sys
from pathlib import Path
from typing import Any

import torch

from detco_core.contract.config import MethodConfig
from detco_core.method.shuffle import make_deal, mine
from detco_core.nets.batch_norm import SyncBatchNorm2d
from detco_core.runtime import distributed
from tests.distributed.steps import config, make, make_without_batch_norm, train
from tests.distributed.sync_layer import one_layer


def collectives() -> dict[str, Any]:
    rank = distributed.rank()
    x = torch.arange(6.0).reshape(3, 2) + 10 * rank
    deal = make_deal(x, MethodConfig(batch_norm="shuffle"))
    return {
        "world": distributed.world_size(),
        "gathered": distributed.gather(x),
        "gathered_last": distributed.gather(x.expand(2, 3, 2).transpose(0, 1)),
        "mean": distributed.mean(x),
        "mine": mine(distributed.gather(x)),
        "any": [distributed.any_process(rank == 1), distributed.any_process(False)],
        "collected": distributed.collect({"rank": rank}),
        "first": distributed.from_first(torch.tensor([rank + 5])),
        "order": deal.order,
        "dealt": deal.out(x),
        "back": deal.back(deal.out(x)),
    }


def main(folder: Path) -> None:
    with distributed.process_group(torch.device("cpu")):
        # Different seeds: what must be equal is made equal by the program, not by luck.
        torch.manual_seed(100 + distributed.rank())
        found: dict[str, Any] = {"collectives": collectives(), "layer": one_layer(SyncBatchNorm2d(3))}
        found["shuffle"] = train(make(config()), 3)
        found["sync"] = train(make(config(method__batch_norm="sync")), 3)
        found["plain"] = train(make(config(method__batch_norm="plain")), 3)
        # Batch norm by its running statistics: then a batch's split over processes cannot show in the numbers.
        found["off"] = train(make(config()).eval(), 3)
        found["off, cut in two"] = train(make(config()).eval(), 3, cuts=2)
        found["off, not shuffled"] = train(make(config(method__batch_norm="plain")).eval(), 3)
        found["none"] = train(make_without_batch_norm(), 3, patch=32)
        torch.save(found, folder / f"rank-{distributed.rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
