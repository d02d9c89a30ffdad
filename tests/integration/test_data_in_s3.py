"""A list, shards and saved rows in S3, from the request to the images a run reads, the whole service in one process.

The worker's part is done by hand: what it would start as a process, the scan, is called.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from control.db.session import unit_of_work
from control.records.access.tokens import create_token
from control.records.life import feed, leases
from control.records.runs.kinds import Queue
from control.records.scheduling.claims import claim
from control.records.scheduling.workers import NewSlot, NewWorker, WorkerIdentity, register
from control.settings import Settings
from control.storage.base import file_digest
from control.storage.local import LocalStore
from detco_core.contract import events
from detco_core.contract.jobs import CheckJob, PretrainJob, read_job
from detco_core.contract.reader import plain
from detco_core.data import objects
from detco_core.data.images import ImageFiles
from detco_core.data.scan import MANIFEST, scan
from detco_core.data.synthetic import write_photos, write_rows, write_shards
from server.app import make_app
from tests.migrated import open_migrated
from worker.attempts.folder import open_folder
from worker.inputs.prepare import prepare
from worker.inputs.unpacked import Unpacked
from worker.processes import Mark

pytestmark = pytest.mark.slow


class Hand:
    """What a worker's processes would do."""

    def __init__(self, settings: Settings, engine: Engine, root: str) -> None:
        self.settings, self.engine = settings, engine
        self.store = LocalStore(settings.data_dir / "artifacts")
        slots = (NewSlot(uuid="cpu:0", purpose="train"), NewSlot(uuid="light:0", purpose="light"))
        with unit_of_work(engine) as session:
            new = NewWorker(host="here", pid=1, software="test", roots=(root,), slots=slots)
            self.worker: WorkerIdentity = register(session, new)

    def prepared(self, queue: Queue) -> tuple[Mark, Path]:
        """The next job of a queue, claimed, started, and its folder filled."""
        with unit_of_work(self.engine) as session:
            taken = claim(session, self.worker, queue)
            assert taken is not None
            assert leases.start(session, taken.run_id, taken.fence, 1)
        mark = Mark(taken.run_id, taken.fence)
        folder = open_folder(self.settings.work_dir, mark)
        unpacked = Unpacked(self.settings.data_dir, self.settings)
        prepare(self.engine, lambda path, digest: self._place(path, digest), unpacked, mark, folder)
        return mark, folder / "job.json"

    def scan(self) -> None:
        mark, job = self.prepared("cpu")
        report = scan(read_job(CheckJob, job))
        manifest = job.with_name(MANIFEST)
        digest = file_digest(manifest)
        self.store.put(manifest, digest)
        saved = events.ArtifactSaved(name=MANIFEST, path=MANIFEST, bytes=manifest.stat().st_size, sha256=digest)
        self._end(mark, saved, events.Reported(report=plain(report)), events.Finished())

    def train(self) -> list[bytes]:
        """The images that the next run reads."""
        mark, job = self.prepared("gpu")
        files = ImageFiles.open(read_job(PretrainJob, job).dataset)
        images = [where.getvalue() for where in map(files.bytes, range(len(files))) if not isinstance(where, str)]
        self._end(mark, events.Finished())
        return images

    def _place(self, path: Path, digest: str) -> None:
        self.store.fetch(f"sha256/{digest[7:9]}/{digest[7:]}", path, digest)

    def _end(self, mark: Mark, *bodies: events.Body) -> None:
        lines = [events.Event(n, time.time(), body) for n, body in enumerate(bodies, start=1)]
        with unit_of_work(self.engine) as session:
            assert feed.ingest(session, mark.run, mark.fence, lines, len(lines) + 1)
            assert leases.close(session, mark.run, mark.fence, leases.Outcome(kind="completed"))


@pytest.fixture
def bucket(s3_bucket: Any) -> Iterator[Any]:
    objects.client.cache_clear()
    yield s3_bucket
    objects.client.cache_clear()


def test_each_layout_is_registered_scanned_and_read(bucket: Any, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    images = [path.read_bytes() for path in write_photos(tmp_path / "data" / "photos", 3, (24, 18))]
    write_shards(tmp_path / "data" / "shards", [*images, b"no photo"], 2)
    write_rows(tmp_path / "data" / "rows", [*images, b"no photo"])
    (tmp_path / "data" / "list.txt").write_text("".join(f"photos/photo-{n:04d}.jpg\n" for n in range(4)))
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            bucket.put_object(Key=f"data/{path.relative_to(tmp_path / 'data').as_posix()}", Body=path.read_bytes())
    root = f"s3://{bucket.name}/data"
    settings = Settings(data_dir=tmp_path / "service", host_name="here", dataset_roots=(root,))
    engine = open_migrated(settings.resolved_database_url)
    hand = Hand(settings, engine, root)
    with unit_of_work(engine) as session:
        secret = create_token(session, "admin", ("admin",), "test").secret
    with TestClient(make_app(settings), headers={"Authorization": f"Bearer {secret}"}) as client:
        for name, uri in (("listed", "list.txt"), ("packed", "shards"), ("saved", "rows")):
            body = {"name": name, "kind": "images", "uri": f"{root}/{uri}"}
            answer = client.post("/v1/datasets", json=body)
            assert (answer.status_code, answer.json().get("state")) == (202, "scanning"), answer.text
            hand.scan()
            shown = client.get(f"/v1/datasets/{name}").json()
            assert (shown["state"], shown["images"], shown["broken_count"]) == ("ready", 3, 1), shown
            wanted = {"dataset": name, "preset": "smoke", "overrides": {"train.batch_size": 2}}
            answer = client.post("/v1/runs", json=wanted)
            assert answer.status_code == 202, answer.text
            assert hand.train() == images
        assert client.post("/v1/datasets", json=body | {"name": "x", "uri": f"{root}/none.tar"}).status_code == 422
        assert client.post("/v1/datasets", json=body | {"name": "x", "uri": "s3://other/a.tar"}).status_code == 422
    engine.dispose()
