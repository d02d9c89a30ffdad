"""A served application on a real SQLite control plane, and a worker's hand that moves its jobs along."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image

from control import collector
from control.db.session import unit_of_work
from control.records.access.tokens import create_token
from control.records.life import feed, leases
from control.records.runs.kinds import Queue
from control.records.scheduling.claims import Claim, claim
from control.records.scheduling.workers import NewSlot, NewWorker, WorkerIdentity, register
from control.settings import Settings, load_settings
from control.storage.base import file_digest
from control.storage.open import open_store
from detco_core.contract import events
from detco_core.contract.manifest import Manifest
from detco_core.contract.reader import plain
from detco_core.inference.backbone import Backbone
from detco_core.inference.tiny import write_tiny_bundle
from server.app import make_app
from tests.migrated import open_migrated


class House:
    """The service under test: clients by token, and what a worker would do."""

    def __init__(self, settings: Settings, root: Path) -> None:
        self.settings = settings
        self.root = root
        self.engine = open_migrated(settings.resolved_database_url)
        self.store = open_store(settings)
        self.url = ""
        self._clients: list[httpx.Client] = []
        self._worker: WorkerIdentity | None = None

    def app(self) -> FastAPI:
        return make_app(self.settings)

    def client(self, *scopes: str, models: Sequence[str] | None = None) -> httpx.Client:
        """A client with a new token of these scopes."""
        with unit_of_work(self.engine) as session:
            made = create_token(session, "-".join(scopes), scopes, "test", models=models)
        return self.bare(made.secret)

    def bare(self, secret: str = "") -> httpx.Client:
        """A client with this token, or none."""
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        client = httpx.Client(base_url=self.url, headers=headers, timeout=30.0)
        self._clients.append(client)
        return client

    def photos(self, name: str, count: int = 20) -> Path:
        """A folder of that many images below the allowed root."""
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        for n in range(count):
            Image.new("RGB", (40, 30), (n % 256, 0, 0)).save(folder / f"{n:03d}.png")
        return folder

    def worker(self) -> WorkerIdentity:
        if self._worker is None:
            slots = (*(NewSlot(uuid=f"cpu:{n}", purpose="train") for n in range(9)),)
            slots += tuple(NewSlot(uuid=f"light:{n}", purpose="light") for n in range(9))
            with unit_of_work(self.engine) as session:
                new = NewWorker(host="here", pid=1, software="0", roots=(str(self.root),), slots=slots)
                self._worker = register(session, new)
        return self._worker

    def claim(self, queue: Queue) -> Claim:
        """Take the next job of a queue, as a worker, and start it."""
        with unit_of_work(self.engine) as session:
            taken = claim(session, self.worker(), queue)
            assert taken is not None
            assert leases.start(session, taken.run_id, taken.fence, 1)
        return taken

    def say(self, taken: Claim, *bodies: events.Body, first: int = 1) -> None:
        """Record events of a claimed job."""
        lines = [events.Event(first + n, time.time(), body) for n, body in enumerate(bodies)]
        with unit_of_work(self.engine) as session:
            assert feed.ingest(session, taken.run_id, taken.fence, lines, first + len(lines))

    def close(self, taken: Claim, kind: Any = "completed", **more: Any) -> None:
        """End a claimed job."""
        with unit_of_work(self.engine) as session:
            assert leases.close(session, taken.run_id, taken.fence, leases.Outcome(kind=kind, **more))

    def keep(self, path: Path, name: str) -> events.ArtifactSaved:
        """Store a file; the event that names it."""
        digest = file_digest(path)
        self.store.put(path, digest)
        return events.ArtifactSaved(name=name, path=name, bytes=path.stat().st_size, sha256=digest)

    def checkpoint(self, step: int, content: bytes) -> events.CheckpointSaved:
        """Store a checkpoint; the event that names it."""
        path = self.root / f"step-{step}.pt"
        path.write_bytes(content)
        digest = file_digest(path)
        self.store.put(path, digest)
        return events.CheckpointSaved(step=step, epoch=1.0, path=path.name, bytes=len(content), sha256=digest)

    def scan(self, images: int) -> None:
        """Do the scan that is next in the queue."""
        taken = self.claim("cpu")
        manifest = self.root / "manifest.jsonl"
        manifest.write_text(json.dumps({"scan": taken.run_id}))
        saved = self.keep(manifest, "manifest.jsonl")
        counts = {"images": images, "bytes": 1, "splits": {"": images}, "labels": {}, "channels": {"3": images}}
        measured = {"images": images, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2], "bit_depth": 8}
        sizes = {"width": [1, 2, 3], "height": [1, 2, 3], "statistics": {"3": measured}}
        report = counts | sizes | {"digest": saved.sha256}
        broken = [{"path": "bad.jpg", "reason": "truncated"}]
        self.say(taken, saved, events.Reported(report=report | {"broken": broken}), events.Finished())
        self.close(taken)

    def export(self, seed: int = 0, write: Callable[[Path, int], Manifest] = write_tiny_bundle) -> None:
        """Do the export that is next in the queue, with a tiny network of its own weights for each seed."""
        taken = self.claim("cpu")
        folder = self.root / f"bundle-{taken.run_id}"
        manifest = write(folder, seed)
        saved = [self.keep(folder / name, f"bundle/{name}") for name in ("manifest.json", "model.onnx")]
        self.say(taken, *saved, events.Reported(report={"manifest": plain(manifest)}), events.Finished())
        self.close(taken)

    def add_version(self, admin: httpx.Client, model: str, run: str, seed: int = 0) -> None:
        """Ask for a version of a model, and do its export."""
        assert admin.post(f"/v1/models/{model}/versions", json={"run": run}).status_code == 202
        self.export(seed)

    def bring_in(self, content: bytes = b"tensors") -> None:
        """Do the import that is next in the queue."""
        taken = self.claim("cpu")
        path = self.root / f"{taken.run_id}.pth"
        path.write_bytes(content)
        saved = self.keep(path, "weights.pth")
        keys = {"matched": ["conv1.weight"], "missing": [], "unexpected": ["fc.weight"]}
        report = {"architecture": "resnet18", "format": "torchvision", "digest": "sha256:" + "d" * 64, "keys": keys}
        self.say(taken, saved, events.Reported(report=report), events.Finished())
        self.close(taken)

    def clean(self) -> int:
        """Delete what is not kept, as the leading worker does; the bytes freed."""
        return collector.look_after(self.engine, self.store, self.settings.keep_policy)

    def end(self) -> None:
        for client in self._clients:
            client.close()
        self.engine.dispose()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, serve: Callable[[FastAPI], httpx.Client]) -> Iterator[House]:
    """One service for a test module; its data sets lie below `house.root`."""
    root = tmp_path_factory.mktemp("photos")
    settings = load_settings(data_dir=tmp_path_factory.mktemp("data"), dataset_roots=(str(root),), shared_memory=True)
    house = House(settings, root)
    house.url = str(serve(house.app()).base_url)
    yield house
    house.end()


@pytest.fixture(scope="module")
def admin(house: House) -> httpx.Client:
    return house.client("admin")


@pytest.fixture(scope="module")
def photos(house: House, admin: httpx.Client) -> str:
    """The name of a data set of 20 images that is ready."""
    body = {"name": "photos", "kind": "images", "uri": str(house.photos("photos"))}
    assert admin.post("/v1/datasets", json=body).status_code == 202
    house.scan(20)
    return "photos"


@pytest.fixture(scope="module")
def run(house: House, admin: httpx.Client, photos: str) -> str:
    """The id of a completed run with one checkpoint."""
    posted = admin.post("/v1/runs", json={"dataset": photos, "preset": "smoke"}).json()
    taken = house.claim("gpu")
    house.say(taken, house.checkpoint(20, b"weights"), events.Finished())
    house.close(taken)
    return str(posted["id"])


@pytest.fixture(scope="module")
def tiny(house: House, admin: httpx.Client, run: str) -> str:
    """The name of a model whose only version is in production."""
    house.add_version(admin, "tiny", run)
    assert admin.put("/v1/models/tiny/aliases/production", json={"version": 1}).status_code == 200
    return "tiny"


@pytest.fixture(scope="module")
def client(house: House, tiny: str) -> httpx.Client:
    """May ask for features of `tiny`, and nothing else."""
    return house.client("features", models=[tiny])


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """The network of `tiny`, without any service."""
    folder = tmp_path_factory.mktemp("direct")
    write_tiny_bundle(folder, 0)
    return Backbone(folder, providers=["CPUExecutionProvider"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder talks to a served application over a socket: none is a fast one."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.slow)
