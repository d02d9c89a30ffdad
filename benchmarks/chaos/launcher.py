"""A stand-in for torchrun: `python -m benchmarks.chaos.launcher RANKS VERB`.

As torch elastic does, it puts each rank into a session of its own, and ends all when one fails.
"""

import os
import subprocess
import sys
import time

_TICK = 0.05


def main(ranks: int, verb: str) -> int:
    command = [sys.executable, "-m", "benchmarks.chaos.child", verb]
    processes = [
        subprocess.Popen(command, env={**os.environ, "RANK": str(rank)}, start_new_session=True)
        for rank in range(ranks)
    ]
    while any(process.poll() is None for process in processes):
        if any(process.returncode for process in processes):
            _end(processes)
        time.sleep(_TICK)
    return int(any(process.returncode for process in processes))


def _end(processes: "list[subprocess.Popen[bytes]]") -> None:
    # Those asked to stop are saving: they go by themselves.
    for process in processes:
        try:
            process.wait(2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
