"""What each of two processes does and sees; run by torchrun from test_method.py, which reads what it leaves.

Usage: two_ranks.py FOLDER. Each rank writes FOLDER/rank-R.pt.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from detco_core.contract.config import RunConfig, override
from detco_core.contract.presets import preset
from detco_core.method.detco import DetCo, make_detco
from detco_core.method.shuffle import make_deal, mine
from detco_core.runtime import distributed
from detco_core.views.pipeline import Views

BATCH = 8


def config(**overrides: Any) -> RunConfig:
    small = {"train.batch_size": BATCH, "method.queue_size": 32, "method.dim": 8, "method.local_head": "pirl"}
    return override(preset("smoke"), {**small, **{key.replace("__", "."): v for key, v in overrides.items()}})


def whole_batch(step: int) -> Views:
    generator = torch.Generator().manual_seed(step)
    shapes = (BATCH, 3, 32, 32), (BATCH, 3, 32, 32), (BATCH, 9, 3, 16, 16), (BATCH, 9, 3, 16, 16)
    return Views(*(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes))


def my_share(views: Views) -> Views:
    return Views(*(None if x is None else mine(x) for x in views))  # type: ignore[arg-type]  # a None stays in its place


def without_batch_norm(method: DetCo) -> DetCo:
    """Batch norm by its running statistics: then a batch's split over processes cannot show in the numbers."""
    return method.eval()


def train(method: DetCo, steps: int) -> dict[str, Any]:
    """A few steps; what came out."""
    parallel = DistributedDataParallel(method, broadcast_buffers=False)
    optimizer = torch.optim.SGD(method.query.parameters(), lr=0.01, momentum=0.9)
    losses, dtype = [], next(method.parameters()).dtype
    for step in range(steps):
        views = Views(*(x.to(dtype) for x in whole_batch(step)))  # type: ignore[union-attr]  # all four are there
        method.move_key(0.999)
        output = parallel(my_share(views))
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        method.enqueue([output.keys])
        losses.append(distributed.mean(output.loss.detach()).item())
    return {"losses": losses, "state": method.state_dict()}


def collectives() -> dict[str, Any]:
    rank = distributed.rank()
    x = torch.arange(6.0).reshape(3, 2) + 10 * rank
    deal = make_deal(3, shuffle=True)
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
        found: dict[str, Any] = {"collectives": collectives()}
        torch.manual_seed(0)
        found["shuffled"] = train(make_detco(config()), 3)
        torch.manual_seed(0)
        found["frozen"] = train(without_batch_norm(make_detco(config()).double()), 2)
        torch.manual_seed(0)
        found["unshuffled"] = train(without_batch_norm(make_detco(config(method__batch_norm="plain")).double()), 2)
        torch.save(found, folder / f"rank-{distributed.rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
