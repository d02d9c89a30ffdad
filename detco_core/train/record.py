"""What really ran, for the run's record: software, machine, batch norm, and where it leaves the published recipe."""

import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import torchvision

from detco_core import __version__
from detco_core.contract.config import RunConfig
from detco_core.contract.paper import Deviation, deviations
from detco_core.contract.reader import plain
from detco_core.runtime import distributed


def software() -> dict[str, str]:
    """Versions of what trains."""
    return {
        "detco": __version__,
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "python": platform.python_version(),
    }


def environment(
    config: RunConfig, device: torch.device, batch_norm: str, start: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """The `environment` of the run's `started` event.

    Args:
        config: of the run.
        device: it computes on.
        batch_norm: the method's sentence about it.
        start: where the run begins, if not with random weights at step 0: `init`, `extended`.
    """
    versions = software()
    left = deviations(config, distributed.world_size())
    if "init" in start:
        left = (*left, Deviation(key="init", published="random weights", here="given weights"))
    return {
        "version": versions.pop("detco"),
        "commit": _commit(),
        **versions,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "gpus": _gpus(device),
        "device": device.type,
        "cpu_threads": torch.get_num_threads(),
        "world_size": distributed.world_size(),
        "precision": config.device.precision,
        "deterministic": config.device.deterministic,
        "channels_last": config.device.channels_last,
        "compiled": config.device.compile,
        "micro_batches": config.train.accumulate,
        "batch_norm": batch_norm,
        "deviations": plain(left),
        **start,
    }


def _gpus(device: torch.device) -> list[str]:
    if device.type != "cuda":
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _commit() -> str | None:
    """The commit of the source tree; None for an installed package."""
    source = Path(__file__).resolve().parents[2]
    if not (source / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(source), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
