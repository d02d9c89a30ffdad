"""How much memory this process takes."""

import os
import resource
from pathlib import Path

import torch

_STATM = Path("/proc/self/statm")


def memory(device: torch.device) -> dict[str, float]:
    """Bytes by metric name: `memory_rss`, and on a GPU `memory_cuda` and `memory_cuda_peak`; nothing waits for it."""
    values = {"memory_rss": float(resident())}
    if device.type == "cuda":
        values["memory_cuda"] = float(torch.cuda.memory_allocated(device))
        values["memory_cuda_peak"] = float(torch.cuda.max_memory_allocated(device))
    return values


def resident() -> int:
    """Bytes of RAM this process holds now; where the system does not say, the most it ever held."""
    try:
        pages = int(_STATM.read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")
