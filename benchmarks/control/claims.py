"""How many runs a second eight workers claim together."""

import multiprocessing
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.exc import OperationalError

from control.db.models import Attempt
from control.db.session import open_engine, read_only, unit_of_work
from control.records.runs.submission import NewRun, create_run
from control.records.scheduling.claims import claim
from control.records.scheduling.workers import NewSlot, NewWorker, register

CLAIMERS = 8
_LEASE_SECONDS = 3600.0
"""Nobody renews it here, and a slow machine may claim for longer than the usual minute."""


def measure_claims(engine: Engine, runs: int, claimers: int = CLAIMERS) -> dict[str, float]:
    """Queue that many runs and let `claimers` processes, each a host of its own, claim until nothing is left.

    Raises:
        RuntimeError: a run was claimed twice, or not at all.
    """
    queued = _queue(engine, runs)
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(claimers + 1)
    url = engine.url.render_as_string(hide_password=False)
    with context.Manager() as manager:
        spans = manager.list()
        processes = [
            context.Process(target=_claim_all, args=(url, n, 2 * runs // claimers, ready, spans))
            for n in range(claimers)
        ]
        for process in processes:
            process.start()
        ready.wait(120)
        for process in processes:
            process.join()
        begun, ended = min(span[0] for span in spans), max(span[1] for span in spans)
    _check(engine, queued)
    return {"runs": runs, "claimers": claimers, "seconds": ended - begun, "per_second": runs / (ended - begun)}


def _queue(engine: Engine, runs: int) -> set[str]:
    ids: set[str] = set()
    for _ in range(0, runs, 200):
        with unit_of_work(engine) as session:
            new = NewRun(kind="export", spec={}, actor="benchmark")
            ids |= {create_run(session, new).id for _ in range(min(200, runs - len(ids)))}
    return ids


def _claim_all(url: str, number: int, slots: int, ready: Barrier, spans: Any) -> None:
    engine = open_engine(url)
    with unit_of_work(engine) as session:
        places = tuple(NewSlot(uuid=f"light:{n}", purpose="light") for n in range(slots))
        new = NewWorker(host=f"host-{number}", pid=number, software="0", roots=("/",), slots=places)
        worker = register(session, new)
    ready.wait(120)
    begun = ended = time.time()
    misses = 0
    while misses < 3:  # on PostgreSQL another may hold the row we would have taken
        try:
            with unit_of_work(engine) as session:
                taken = claim(session, worker, "cpu", _LEASE_SECONDS)
        except OperationalError:  # SQLite: half a minute without the lock; a worker asks again too
            continue
        misses = 0 if taken else misses + 1
        ended = time.time() if taken else ended
    engine.dispose()
    spans.append((begun, ended))


def _check(engine: Engine, queued: set[str]) -> None:
    with read_only(engine) as session:
        attempts: Sequence[str] = session.scalars(select(Attempt.run_id).where(Attempt.run_id.in_(queued))).all()
    counts = Counter(attempts)
    if set(counts) != queued or set(counts.values()) != {1}:
        raise RuntimeError(f"{len(queued)} runs were queued, {len(counts)} claimed, {len(attempts)} attempts made")
