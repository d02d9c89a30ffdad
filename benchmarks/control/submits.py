"""Submitting runs through the API, one caller and four at once."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
from sqlalchemy import Engine

from benchmarks.control.clock import Times, summed_up, timed
from benchmarks.control.deployment import Deployment
from control.db.models import Dataset, DatasetVersion
from control.db.session import unit_of_work

DATASET = "photos"
CALLERS = 4


def measure_submits(deployed: Deployment, client: httpx.Client, calls: int) -> list[Times]:
    """A smoke run each, with an Idempotency-Key of its own."""

    def submit() -> None:
        body = {"dataset": DATASET, "preset": "smoke", "labels": {"team": "a"}}
        headers = {"Idempotency-Key": uuid4().hex}
        client.post("/v1/runs", json=body, headers=headers).raise_for_status()

    submit()
    begun = deployed.cpu_seconds()
    alone = [timed(submit) for _ in range(calls)]
    between = deployed.cpu_seconds()
    with ThreadPoolExecutor(CALLERS) as pool:
        together = list(pool.map(lambda _: timed(submit), range(calls)))
    return [
        summed_up("submit, one caller", alone, between - begun),
        summed_up(f"submit, {CALLERS} callers at once", together, deployed.cpu_seconds() - between),
    ]


def add_dataset(engine: Engine, root: str) -> None:
    """A data set that is ready, without files."""
    made = {"kind": "images", "root": root, "created_by": "benchmark"}
    with unit_of_work(engine) as session:
        session.add(Dataset(name=DATASET, uri=root, **made))
        session.flush()
        session.add(DatasetVersion(dataset=DATASET, number=1, exclude=[], state="ready", images=1000, **made))
