"""Where and with what a figure was measured: the lines that stand beside every figure."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("detco", "torch", "torchvision", "onnxruntime-gpu", "numpy", "pillow")


def describe(*packages: str) -> dict[str, Any]:
    """Machine, versions (of `PACKAGES` and `packages`), commit and time of this run."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "cpu": cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "gpus": gpus(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "python": platform.python_version(),
        **{name: installed(name) for name in (*PACKAGES, *packages)},
    }


def commit() -> str:
    """The commit of the working tree, with `+changes` when files differ from it; results may, they change no figure."""
    head = _said("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD")
    changed = _said("git", "-C", str(ROOT), "status", "--porcelain", "--", ".", ":!benchmarks/results")
    return f"{head or 'unknown'}{'+changes' if changed else ''}"


def cpu() -> str:
    """The CPU's name, as the kernel gives it."""
    names = (line.split(":", 1)[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def gpus() -> list[str]:
    """Name and driver of every NVIDIA GPU; empty where there is no driver."""
    return _said("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").splitlines()


def installed(package: str) -> str | None:
    """The installed version; None where it is absent."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []


if __name__ == "__main__":
    print(json.dumps(describe(), indent=2))
