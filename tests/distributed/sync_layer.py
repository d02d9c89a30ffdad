"""SyncBN on half of some rows in each of two processes, on the CPU (ours) and on a device (torch's, on a GPU).

Run by torchrun from test_sync_gpu.py. Usage: sync_layer.py FOLDER DEVICE. Each rank writes FOLDER/rank-R.pt. Both
processes may share a GPU, since they speak through gloo.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from detco_core.method.shuffle import mine
from detco_core.nets.batch_norm import SyncBatchNorm2d


def one_layer(norm: nn.Module, device: str = "cpu") -> dict[str, Tensor]:
    """Two passes of batch norm on this process's half of some rows: outputs, gradients, statistics; in float64."""
    generator = torch.Generator().manual_seed(5)
    shape = (6, 3, 4, 5)
    whole, pull = (torch.randn(shape, generator=generator, dtype=torch.float64).to(device) * 2 + 1 for _ in range(2))
    norm = norm.double().to(device)
    x = mine(whole).clone().requires_grad_()
    norm(x * 0.5)
    out = norm(x)
    # Each process's loss depends on all rows by way of the statistics.
    (out * out * mine(pull)).sum().backward()
    weights = {f"{name}.grad": p.grad for name, p in norm.named_parameters() if p.grad is not None}
    assert x.grad is not None
    return {
        name: t.detach().cpu() for name, t in {"out": out, "x.grad": x.grad, **weights, **norm.state_dict()}.items()
    }


def main(folder: Path, device: str) -> None:
    dist.init_process_group("gloo")
    found = {"ours": one_layer(SyncBatchNorm2d(3)), "device": one_layer(SyncBatchNorm2d(3), device)}
    torch.save(found, folder / f"rank-{dist.get_rank()}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
