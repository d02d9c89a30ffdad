"""What really ran, for the run's record: software, machine, batch norm, and where it leaves the published recipe."""

import platform
import subprocess
from pathlib import Path
from typing import Any

import torch
import torchvision

from detco_core import __version__
from detco_core.contract.config import RunConfig
from detco_core.contract.paper import deviations
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


def environment(config: RunConfig, device: torch.device) -> dict[str, Any]:
    """The `environment` of the run's `started` event."""
    versions = software()
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
        "batch_norm": batch_norm(config),
        "deviations": plain(deviations(config, distributed.world_size())),
    }


def batch_norm(config: RunConfig) -> str:
    """One sentence: over which images batch norm takes its statistics, and whether keys were shuffled."""
    world = distributed.world_size()
    images = config.train.batch_size // world
    if world == 1:
        shuffled = "; shuffle BN has no effect with one process" if config.method.batch_norm == "shuffle" else ""
        return f"plain, over all {images} images{shuffled}"
    shuffled = "keys shuffled across processes" if config.method.batch_norm == "shuffle" else "keys not shuffled"
    return f"per process, over {images} of {config.train.batch_size} images, {shuffled}; statistics saved are rank 0's"


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
