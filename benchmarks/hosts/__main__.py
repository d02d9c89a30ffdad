"""`python -m benchmarks.hosts [FOLDER]`: one run on two hosts, one of them powered off in the middle; needs root.

Three pretraining runs of the same config: one process on each of two hosts; the same, with host b powered off after the
first checkpoint and started again; two processes on one host. All three must end with the same weights.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sqlalchemy import Engine

from benchmarks.hosts.pair import Host, networks
from benchmarks.machine import describe
from control.db.migrate import upgrade
from control.db.session import open_engine, read_only, unit_of_work
from control.records.datasets.datasets import NewDataset, add_dataset
from control.records.journal.history import list_attempts, newest_checkpoint
from control.records.planning.plans import plan
from control.records.runs.runs import get_run
from control.records.runs.submission import NewRun, create_run
from control.records.scheduling.gangs import nodes_of
from control.records.scheduling.waiting import why
from control.records.scheduling.workers import list_slots
from control.states import TERMINAL
from detco_core.data.synthetic import write_photos

OVERRIDES = {
    "train.steps": 6,
    "train.checkpoint_every": 2,
    "train.batch_size": 8,
    "method.queue_size": 64,
    "views.global_size": 64,
    "views.patch_size": 32,
    "data.workers": 0,
}
PATIENCE = 400.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hosts", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    folder = parser.parse_args().folder or Path(tempfile.mkdtemp(prefix="hosts-"))
    print(json.dumps(describe()))
    shared = folder / "shared"
    write_photos(shared / "photos", 40, (96, 96))
    engine = open_engine(f"sqlite:///{shared / 'detco.sqlite3'}")
    upgrade(engine)
    with unit_of_work(engine) as session:
        add_dataset(session, NewDataset(name="photos", kind="images", uri=str(shared / "photos"), actor="b"), ["/"])
    with networks() as entries:
        a, b = Host("a", entries["a"], shared, 2), Host("b", entries["b"], shared, 1)
        a.start()
        b.start()
        try:
            weights = [_two_hosts(engine, shared), _one_lost(engine, shared, b), _one_host(engine, shared)]
        finally:
            a.stop()
            b.stop()
    equal = [_equal(weights[2], other) for other in weights[:2]]
    with read_only(engine) as session:
        leaked = [slot.uuid for slot in list_slots(session) if slot.run_id is not None]
    print(
        f"weights equal to those of one host: undisturbed {equal[0]}, after a loss {equal[1]}; slots leaked: {leaked}"
    )
    return 0 if all(equal) and not leaked else 1


def _one_host(engine: Engine, shared: Path) -> Path:
    return _finish(engine, shared, _submit(engine, gpus=2, nodes=1), "two processes on one host")


def _two_hosts(engine: Engine, shared: Path) -> Path:
    return _finish(engine, shared, _submit(engine, gpus=1, nodes=2), "one process on each of two hosts")


def _one_lost(engine: Engine, shared: Path, other: Host) -> Path:
    run_id = _submit(engine, gpus=1, nodes=2)

    def has_saved() -> bool:
        with read_only(engine) as session:
            return newest_checkpoint(session, run_id) is not None

    _until(has_saved, f"{run_id} saves")
    off = time.monotonic()
    other.power_off()

    def is_queued() -> bool:
        with read_only(engine) as session:
            return get_run(session, run_id).state == "queued"

    _until(is_queued, f"{run_id} is queued again")
    print(f"  host b powered off; the run was queued again after {time.monotonic() - off:.1f} s")
    other.start()
    return _finish(engine, shared, run_id, "two hosts, one lost in the middle")


def _submit(engine: Engine, gpus: int, nodes: int) -> str:
    with unit_of_work(engine) as session:
        planned = plan(session, "smoke", OVERRIDES, "photos", gpus, nodes=nodes)
        new = NewRun(
            kind="pretrain",
            spec=planned.spec,
            actor="benchmark",
            dataset_version_id=planned.dataset.id,
            gpus=gpus,
            nodes=nodes,
        )
        return create_run(session, new).id


def _finish(engine: Engine, shared: Path, run_id: str, what: str) -> Path:
    """Wait for the run's end, tell of it, and give the file of its last checkpoint."""

    def is_over() -> bool:
        with read_only(engine) as session:
            return get_run(session, run_id).state in TERMINAL

    begun = time.monotonic()
    _until(is_over, f"{run_id} ends: {_explain(engine, run_id)}")
    with read_only(engine) as session:
        run, attempts = get_run(session, run_id), list_attempts(session, run_id)
        print(f"{what}: {run.state} after {time.monotonic() - begun:.1f} s {run.reason or ''}")
        for attempt in attempts:
            hosts = nodes_of(session, run_id, [attempt.fence]).get(attempt.fence, [])
            told = ", ".join(f"node {node.node} on {node.host} {node.state}" for node in hosts) or attempt.host
            print(f"  attempt {attempt.number}: {attempt.state} ({told}) {attempt.reason or ''}")
        checkpoint = newest_checkpoint(session, run_id)
        if run.state != "completed" or checkpoint is None:
            raise SystemExit(f"{run_id} did not complete; {attempts[-1].log_tail}")
        return shared / "store" / checkpoint.key


def _explain(engine: Engine, run_id: str) -> str:
    with read_only(engine) as session:
        found = why(session, get_run(session, run_id))
        return found.detail if found else get_run(session, run_id).state


def _equal(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same model."""
    return _same(*(torch.load(path, map_location="cpu", weights_only=True)["state"]["method"] for path in (one, other)))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    return bool(one == other)


def _until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > deadline:
            raise SystemExit(f"it did not happen in {PATIENCE:.0f} s: {what}")
        time.sleep(0.5)


if __name__ == "__main__":
    raise SystemExit(main())
