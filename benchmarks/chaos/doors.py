"""The real service, worker, runner and stand-in process, with the job of `benchmarks.chaos.child`.

`python -m benchmarks.chaos.doors server|worker|runner|stand_in ARGUMENTS...`: the same code path as
`python -m server` and `python -m worker`, which take these commands as arguments. With `CHAOS_MEDDLE=SEED` what this
process sends through the embedded broker is meddled with. With `CHAOS_SABOTAGE` one guard of the service is taken out,
to see that the benchmark finds it missing.
"""

import os
import random
import sys
from collections.abc import Callable

from worker.launch import Post

OWN = (sys.executable, "-m", "benchmarks.chaos.doors")
MEDDLE = "CHAOS_MEDDLE"
SABOTAGE = "CHAOS_SABOTAGE"


def job_command(verb: str, processes: int = 1, post: Post | None = None) -> list[str]:
    """Those on several hosts have one process on each."""
    if post is not None:
        return [sys.executable, "-m", "benchmarks.chaos.child", verb, str(post.node)]
    if processes == 1:
        return [sys.executable, "-m", "benchmarks.chaos.child", verb]
    return [sys.executable, "-m", "benchmarks.chaos.launcher", str(processes), verb]


def runner(arguments: list[str]) -> int:
    from worker.runner import main

    return main(arguments, job_command)


def stand_in(arguments: list[str]) -> int:
    from worker.tasks import main

    return main(arguments, (*OWN, "runner"))


def worker(arguments: list[str]) -> int:
    from worker.__main__ import main

    return main(arguments, runner=(*OWN, "runner"), stand_in=(*OWN, "stand_in"))


def server(arguments: list[str]) -> int:
    from server.main import main

    return main(arguments, worker=(*OWN, "worker"))


DOORS: dict[str, Callable[[list[str]], int]] = {
    "server": server,
    "worker": worker,
    "runner": runner,
    "stand_in": stand_in,
}


def main(name: str, arguments: list[str]) -> int:
    if MEDDLE in os.environ and name in ("server", "worker"):
        # Imported where it is wanted: a runner is started thousands of times.
        from benchmarks.chaos.meddling import meddle_with_files

        meddle_with_files(random.Random(f"{os.environ[MEDDLE]} {os.getpid()}"))
    if SABOTAGE in os.environ:
        from benchmarks.chaos.sabotage import sabotage

        sabotage(os.environ[SABOTAGE])
    return DOORS[name](arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
