"""Kill every process of a run, one after another: it resumes, completes once, and its weights are a quiet run's."""

import io
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tests import processes
from tests.integration.service import Service
from tests.processes import words_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OVERRIDES = {
    "data.workers": 0,
    "train.batch_size": 4,
    "train.checkpoint_every": 5,
    "train.steps": 55,
    "views.global_size": 64,
    "views.local_size": 72,
    "views.patch_size": 20,
}
"""Small: most of the time goes into starting processes."""
APART = 5
"""Steps between two blows: what the service tells may be two seconds old, and a checkpoint must lie between. After the
last one so many are left that the run cannot end before the blow falls."""
WORDS = {"child": "detco_core pretrain", "runner": "worker.runner", "worker": "-m worker "}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("kills") / "data"
    roots = str(tmp_path_factory.getbasetemp())
    service = Service(folder, dataset_roots=roots, heartbeat_seconds="1")
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
    return [process for process in service.processes() if WORDS[who] in " ".join(words_of(process)) + " "]


def wait_step(service: Service, run: str, step: int) -> None:
    service.wait(f"/v1/runs/{run}", lambda r: (r["progress"] or {}).get("step", 0) >= step, 240)


def test_a_run_outlives_whatever_happens_to_it(house: Service, quiet: dict[str, Any]) -> None:
    """One run, and everything that can happen to it in turn, each in another attempt."""
    run = submit(house)["id"]
    for blow, disturb in enumerate((kill_child, kill_runner, kill_worker, stop_and_start, kill_all, pause_and_resume)):
        wait_step(house, run, 4 + APART * blow)
        attempt = house.get(f"/v1/runs/{run}")["attempt"]
        disturb(house, run)
        wait_attempt(house, run, attempt + 1)
    house.finished(f"/v1/runs/{run}", 400)
    assert_completed_once(house, run)
    assert_same(weights(house, run), quiet)
    assert not leftovers(house)


def wait_attempt(service: Service, run: str, attempt: int) -> None:
    service.wait(f"/v1/runs/{run}", lambda r: r["attempt"] >= attempt, 240)


def kill(service: Service, who: str) -> None:
    deadline = time.monotonic() + 60
    while not (targets := victims(service, who)):
        assert time.monotonic() < deadline, f"no {who} among {[words_of(p) for p in service.processes()]}"
        time.sleep(0.1)
    for process in targets:
        processes.kill(process)


def kill_child(service: Service, run: str) -> None:
    kill(service, "child")


def kill_runner(service: Service, run: str) -> None:
    kill(service, "runner")


def kill_worker(service: Service, run: str) -> None:
    kill(service, "worker")


def stop_and_start(service: Service, run: str) -> None:
    service.stop(signal.SIGINT)
    service.start()
    assert service.get(f"/v1/runs/{run}")["state"] in ("queued", "starting", "running")


def kill_all(service: Service, run: str) -> None:
    for process in service.processes():
        processes.kill(process)
    assert service.process is not None
    service.process.wait()
    service.start()


def pause_and_resume(service: Service, run: str) -> None:
    service.post(f"/v1/runs/{run}/pause", None, expect=200)
    assert service.finished(f"/v1/runs/{run}", 240, state="paused")["available_actions"]
    service.post(f"/v1/runs/{run}/resume", None, expect=200)


def assert_completed_once(service: Service, run: str) -> None:
    states = [a["state"] for a in service.get(f"/v1/runs/{run}/attempts")["items"]]
    assert states.count("completed") == 1
    assert len(states) >= 7
    assert {"lost", "preempted"} <= set(states)
    moves = [e["data"].get("state") for e in service.get(f"/v1/runs/{run}/events?page_size=1000")["items"]]
    assert moves.count("completed") == 1


def leftovers(service: Service, seconds: float = 60) -> list[list[str]]:
    """Command lines of runners and jobs still there although no run is."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        left = [words_of(p) for who in ("child", "runner") for p in victims(service, who)]
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


def test_a_cancelled_run_ends_and_stays_so(house: Service) -> None:
    run = submit(house)["id"]
    wait_step(house, run, 1)
    house.post(f"/v1/runs/{run}/cancel", None, expect=200)
    house.finished(f"/v1/runs/{run}", 240, state="cancelled")
    refused = house.request("POST", f"/v1/runs/{run}/pause")
    assert refused.status_code == 409
    assert not leftovers(house)
