"""Runs the benchmarks that need no GPU and no data, one process each; their results are kept under `results/`."""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence

from benchmarks.machine import RESULTS, describe

BENCHMARKS: Mapping[str, tuple[str, ...]] = {
    "views": (),
    "pictures": (),
    "data": (),
    "extraction": (),
    "train": ("--device", "cpu"),
}
"""Arguments by name."""
KEEPS_ITS_OWN = ("train",)
"""Those that write their results themselves; of the others what they print is kept."""


def main(names: Sequence[str] = ()) -> int:
    """Run those named, or all; returns 1 when any failed."""
    RESULTS.mkdir(exist_ok=True)
    failed = False
    for name in names or BENCHMARKS:
        arguments = BENCHMARKS[name]
        machine = json.dumps(describe(), indent=2)
        print(f"== {name}\n{machine}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", *arguments], stdout=subprocess.PIPE, text=True, check=False
        )
        print(done.stdout)
        if name not in KEEPS_ITS_OWN:
            (RESULTS / f"{name}.txt").write_text(f"{machine}\n{done.stdout}", "utf-8")
        failed = failed or done.returncode != 0
    return int(failed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all without one")
    wanted = parser.parse_args().names
    if unknown := [name for name in wanted if name not in BENCHMARKS]:
        parser.error(f"there is no benchmark {unknown[0]!r}; these are: {', '.join(BENCHMARKS)}")
    sys.exit(main(wanted))
