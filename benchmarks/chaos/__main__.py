"""Short runs through a whole service while its messages are meddled with and its processes are killed.

    python -m benchmarks.chaos [--variant separate|embedded] [--runs 300] [--real N] [--minutes M] [--seed S]

Most runs are stand-ins (`child.py`), since importing torch alone takes 8 CPU seconds; `--real` of them are true DetCo
runs. Results: `results/chaos.md` and `.json`, a line and a section for each variant, plays of fewer than a hundred runs
and sabotaged ones beside them; exit status 1 when a check does not hold. `--sabotage NAME` takes a guard of the service
out: the checks must then fail.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.chaos.deployment import Embedded, Separate
from benchmarks.chaos.report import keep, section, told
from benchmarks.chaos.sabotage import SABOTAGES
from benchmarks.chaos.scene import Plan, Scene

VARIANTS = {"separate": Separate, "embedded": Embedded}


def main(words: Sequence[str] | None = None) -> int:
    options = arguments(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("asked to leave"))
    plan = Plan(
        runs=options.runs,
        real=options.real,
        seconds=60 * options.minutes,
        seed=options.seed,
        interval=options.interval,
        freeze_share=options.freeze_share,
        under_way=options.under_way,
        spared=tuple(options.spare),
    )
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
        deployment = VARIANTS[options.variant](
            Path(folder).resolve(), options.seed, options.step_seconds, options.sabotage
        )
        try:
            result = Scene(deployment, plan).play()
        finally:
            if options.keep_logs:
                deployment.keep_logs(options.keep_logs)
    print(told(result))
    if not options.dry:
        keep(section(options.variant, options.runs, options.sabotage), result)
    return int(any(result["faults"].values()))


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", choices=VARIANTS, default="separate")
    parser.add_argument("--runs", type=int, default=300, help="of the stand-in job")
    parser.add_argument("--real", type=int, default=0, help="true DetCo runs beside them")
    parser.add_argument("--minutes", type=float, default=60.0, help="give up after this long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--interval", "--blow-seconds", type=float, default=1.0, help="seconds between two kills")
    parser.add_argument("--spare", nargs="+", default=[], metavar="KIND", help="kinds of processes to leave alone")
    parser.add_argument("--freeze-share", type=float, default=0.04, help="of the blows that freeze an attempt instead")
    parser.add_argument("--under-way", type=int, default=30, help="runs that wait or run at once")
    parser.add_argument("--step-seconds", type=float, default=0.1, help="a step of the stand-in job takes")
    parser.add_argument("--sabotage", choices=SABOTAGES, help="take a guard out")
    parser.add_argument("--keep-logs", type=Path, metavar="FOLDER", help="copy what the processes logged")
    parser.add_argument("--dry", action="store_true", help="keep no results")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
