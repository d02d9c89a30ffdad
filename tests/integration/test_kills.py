"""Kill any process of a run: it resumes from its checkpoint, completes once, and its weights are a quiet run's."""

import io
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tests.integration.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OVERRIDES = {"data.workers": 0, "train.checkpoint_every": 2, "train.steps": 16}
WORDS = {"child": "detco_core pretrain", "runner": "worker.runner", "worker": "-m worker "}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("kills") / "data"
    roots = str(tmp_path_factory.getbasetemp())
    service = Service(folder, dataset_roots=roots, lease_seconds="5", heartbeat_seconds="1")
    try:
        service.start()
        assert service.add_dataset("photos", photos)["state"] == "ready"
        yield service
        service.stop()
    finally:
        service.close()


@pytest.fixture(scope="module")
def quiet(house: Service) -> dict[str, Any]:
    """The last checkpoint of a run nobody disturbed."""
    run = submit(house)
    house.finished(f"/v1/runs/{run['id']}")
    return weights(house, run["id"])


def submit(service: Service) -> Any:
    return service.post("/v1/runs", {"dataset": "photos", "preset": "smoke", "overrides": OVERRIDES})


def weights(service: Service, run: str) -> dict[str, Any]:
    last = max(service.get(f"/v1/runs/{run}/checkpoints")["items"], key=lambda c: c["step"])
    answer = service.request("GET", f"/v1/runs/{run}/checkpoints/{last['id']}/file")
    assert answer.status_code == 200
    loaded: dict[str, Any] = torch.load(io.BytesIO(answer.content), weights_only=True)
    return loaded


def victims(service: Service, who: str) -> list[psutil.Process]:
    return [p for p in service.processes() if WORDS[who] in " ".join(p.cmdline()) + " "]


def wait_step(service: Service, run: str, step: int) -> None:
    service.wait(f"/v1/runs/{run}", lambda r: (r["progress"] or {}).get("step", 0) >= step, 90)


@pytest.mark.parametrize("who", ["child", "runner", "worker"])
def test_sigkill_is_survived(house: Service, quiet: dict[str, Any], who: str) -> None:
    run = submit(house)["id"]
    wait_step(house, run, 5)
    targets = victims(house, who)
    assert targets, f"no {who} among {[p.cmdline() for p in house.processes()]}"
    for process in targets:
        process.kill()
    ended = house.finished(f"/v1/runs/{run}", 150)
    assert ended["attempt"] >= 2
    attempts = house.get(f"/v1/runs/{run}/attempts")["items"]
    assert [a["state"] for a in attempts].count("completed") == 1
    assert attempts[0]["state"] in ("lost", "preempted")
    moves = [e["data"].get("state") for e in house.get(f"/v1/runs/{run}/events?page_size=1000")["items"]]
    assert moves.count("completed") == 1
    assert_same(weights(house, run), quiet)
    assert not leftovers(house)


def leftovers(service: Service, seconds: float = 10) -> list[list[str]]:
    """Command lines of runners and jobs still there although no run is."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        left = [p.cmdline() for who in ("child", "runner") for p in victims(service, who)]
        if not left:
            return []
        time.sleep(0.2)
    return left


def assert_same(found: Any, expected: Any, path: str = "") -> None:
    """Every tensor and number of two checkpoints is equal, bit for bit."""
    if isinstance(expected, dict):
        assert set(found) == set(expected), path
        for key in expected:
            assert_same(found[key], expected[key], f"{path}.{key}")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), path
        for n, (a, b) in enumerate(zip(found, expected, strict=True)):
            assert_same(a, b, f"{path}[{n}]")
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), path
    else:
        assert found == expected, path


def test_a_stop_in_mid_run_loses_nothing(house: Service, quiet: dict[str, Any]) -> None:
    run = submit(house)["id"]
    wait_step(house, run, 3)
    house.stop(signal.SIGINT)
    house.start()
    assert house.get(f"/v1/runs/{run}")["state"] in ("queued", "starting", "running")
    ended = house.finished(f"/v1/runs/{run}", 150)
    assert ended["attempt"] == 2
    assert_same(weights(house, run), quiet)


def test_everything_dies_at_once(house: Service, quiet: dict[str, Any]) -> None:
    run = submit(house)["id"]
    wait_step(house, run, 5)
    for process in house.processes():
        os.kill(process.pid, signal.SIGKILL)
    assert house.process is not None
    house.process.wait()
    house.start()
    house.finished(f"/v1/runs/{run}", 150)
    assert_same(weights(house, run), quiet)


def test_pause_resume_and_cancel(house: Service, quiet: dict[str, Any]) -> None:
    run = submit(house)["id"]
    wait_step(house, run, 2)
    house.post(f"/v1/runs/{run}/pause", None, expect=200)
    assert house.finished(f"/v1/runs/{run}", 60, state="paused")["available_actions"]
    house.post(f"/v1/runs/{run}/resume", None, expect=200)
    house.finished(f"/v1/runs/{run}", 150)
    assert_same(weights(house, run), quiet)
    other = submit(house)["id"]
    wait_step(house, other, 1)
    house.post(f"/v1/runs/{other}/cancel", None, expect=200)
    house.finished(f"/v1/runs/{other}", 60, state="cancelled")
    refused = house.request("POST", f"/v1/runs/{other}/pause")
    assert refused.status_code == 409
    assert not leftovers(house)
