"""Becomes a command that is asked to end when its parent dies: `python -m server.tether PARENT_PID COMMAND...`."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""linux/prctl.h; the setting survives exec."""


def tie(parent: int) -> None:
    """Have the kernel send SIGTERM here when the thread that started us ends; exit if `parent` is gone already."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        sys.exit("the service that started this worker is gone")


def main(arguments: list[str]) -> None:
    parent, *command = arguments
    tie(int(parent))
    os.execv(command[0], command)  # noqa: S606 - a list, no shell: the worker's own command line


if __name__ == "__main__":
    main(sys.argv[1:])
