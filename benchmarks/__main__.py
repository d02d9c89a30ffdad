"""Runs the benchmarks that need no GPU, one process each, and keeps what they print under `results/`."""

import json
import subprocess
import sys

from benchmarks.machine import RESULTS, describe

BENCHMARKS = ("views",)


def main() -> int:
    """Run all; returns 1 when any failed."""
    RESULTS.mkdir(exist_ok=True)
    failed = False
    for name in BENCHMARKS:
        machine = json.dumps(describe(), indent=2)
        print(f"== {name}\n{machine}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True, check=False
        )
        print(done.stdout)
        (RESULTS / f"{name}.txt").write_text(f"{machine}\n{done.stdout}", "utf-8")
        failed = failed or done.returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
