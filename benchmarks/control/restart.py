"""A host is lost with all of its processes while it trains: how long until another has the run going again."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from benchmarks.control.deployment import LEASE_SECONDS, Deployment, kill_with_all_below
from benchmarks.control.reads import answer

LIMIT = LEASE_SECONDS + 10.0
_SMALL = {"train.steps": 100_000, "train.batch_size": 4, "data.workers": 0, "train.checkpoint_every": 5}


def measure_restart(deployment: Deployment) -> dict[str, float]:
    """Seconds from the kill to the next attempt's claim, and to its job's start; the lease beside them."""
    photos = deployment.folder / "few"
    photos.mkdir()
    for n in range(16):
        Image.new("RGB", (160, 120), (n * 15, 90, 255 - n * 15)).save(photos / f"{n}.png")
    with deployment.api() as client:
        first = deployment.worker("first")
        post(client, "/v1/datasets", {"name": "few", "kind": "images", "uri": str(photos)})
        run = post(client, "/v1/runs", {"dataset": "few", "preset": "smoke", "overrides": _SMALL})["id"]
        await_(lambda: attempts(client, run, "running"), 180, deployment.folder / "worker.log")
        second = deployment.worker("second")
        await_(lambda: len(answer(client, "/v1/workers")["items"]) >= 2, 60, deployment.folder / "worker.log")
        time.sleep(5)
        kill_with_all_below(first)
        killed = time.monotonic()
        await_(lambda: len(attempts(client, run)) > 1, 300, deployment.folder / "worker.log")
        claimed = time.monotonic() - killed
        await_(lambda: attempts(client, run, "running"), 300, deployment.folder / "worker.log")
        started = time.monotonic() - killed
        client.post(f"/v1/runs/{run}/kill").raise_for_status()
    kill_with_all_below(second)  # or it would claim too, when claims are measured
    return {"lease_seconds": LEASE_SECONDS, "limit_seconds": LIMIT, "claimed": claimed, "job_started": started}


def attempts(client: httpx.Client, run: str, state: str | None = None) -> list[Any]:
    """Of a run, those in this state or all."""
    items = answer(client, f"/v1/runs/{run}/attempts")["items"]
    return [attempt for attempt in items if state in (None, attempt["state"])]


def post(client: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    response = client.post(path, json=body)
    response.raise_for_status()
    return response.json()


def await_(condition: Callable[[], Any], seconds: float, log: Path) -> None:
    """Raise `TimeoutError` with the end of the log when it does not become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(log.read_text("utf-8", "replace")[-3000:])
        time.sleep(0.05)
