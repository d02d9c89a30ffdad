"""Whether the kernel ended a process for lack of memory, as far as that can be told without being root.

The kernel counts such ends: those in our own control group (what a container's memory limit leads to), and those of the
whole machine. A count that grew while the job ran does not say whose process it was, so it explains a SIGKILL nobody
here sent, and nothing more.
"""

from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_GROUPS = Path("/sys/fs/cgroup")


def oom_kills(proc: Path = _PROC, groups: Path = _GROUPS) -> int:
    """How many processes the kernel has ended for lack of memory, by the counters that can be read; only grows."""
    return sum(_count(path, "oom_kill") for path in (proc / "vmstat", *_counters(proc, groups)))


def _counters(proc: Path, groups: Path) -> list[Path]:
    """Of our own control group, in either version of the interface (`man 7 cgroups`)."""
    own: list[Path] = []
    with suppress(OSError):
        for line in (proc / "self" / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                own.append(groups / path.lstrip("/") / "memory.events")
            elif "memory" in controllers.split(","):
                own.append(groups / "memory" / path.lstrip("/") / "memory.oom_control")
    return own


def _count(path: Path, name: str) -> int:
    with suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0
