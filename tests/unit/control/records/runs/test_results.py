import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from control.db.models import Checkpoint, DatasetVersion, ModelVersion, Run
from control.db.session import unit_of_work
from control.records.datasets.datasets import Scan, get_version
from control.records.life.feed import ingest
from control.records.life.leases import Outcome, close
from control.records.models.registry import Export, NewVersion, add_version
from control.records.runs.actions import request_action
from control.records.runs.runs import get_run
from control.records.scheduling.claims import Claim
from control.records.scheduling.workers import WorkerIdentity
from control.storage.base import key_of
from detco_core.contract.datasets import BrokenFile, ScanReport
from detco_core.contract.events import ArtifactSaved, Body, Event, Reported
from detco_core.contract.manifest import BundleFile, InputSpec, Level, Manifest, Parity
from detco_core.contract.reader import plain


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


SCAN = ScanReport(
    digest=f"sha256:{sha('manifest')}",
    images=2,
    bytes=30,
    splits={"": 2},
    labels={},
    channels={"3": 2},
    width=(1, 2, 3),
    height=(4, 5, 6),
    broken=(BrokenFile(path="odd\udcff.jpg", reason="cut short"),),
)
MANIFEST = Manifest(
    architecture="resnet18",
    weights_digest=f"sha256:{sha('tensors')}",
    levels=(Level(name="res5", channels=512, stride=32),),
    pooled=512,
    input=InputSpec(),
    files={"onnx": BundleFile(path="model.onnx", bytes=7, sha256=f"sha256:{sha('onnx')}")},
    parity={"onnx": Parity(relative_error=1e-6, tolerance=1e-3, images=((64, 64),))},
)


def left(name: str, content: str) -> ArtifactSaved:
    return ArtifactSaved(name=name, path=name, bytes=7, sha256=sha(content))


@pytest.fixture
def finish(
    engine: Engine, make_worker: Callable[..., WorkerIdentity], claim_run: Callable[..., Claim | None]
) -> Callable[..., None]:
    """Claims the next light run, feeds it events, and closes it."""

    def work(*bodies: Body, outcome: Outcome | None = None) -> None:
        found = claim_run(make_worker(), "cpu")
        assert found is not None
        with unit_of_work(engine) as session:
            events = [Event(seq, 0.0, body) for seq, body in enumerate(bodies, 1)]
            assert ingest(session, found.run_id, found.fence, events, 1)
            assert close(session, found.run_id, found.fence, outcome or Outcome(kind="completed", exit_code=0))

    return work


@pytest.fixture
def version(engine: Engine, make_dataset: Callable[..., Scan]) -> Callable[[], DatasetVersion]:
    make_dataset(state="scanning")

    def fetch() -> DatasetVersion:
        with unit_of_work(engine) as session:
            return get_version(session, "photos", 1)

    return fetch


def test_a_scan_fills_its_version(version: Callable[[], DatasetVersion], finish: Callable[..., None]) -> None:
    finish(left("manifest.jsonl", "manifest"), Reported(report=plain(SCAN)))
    found = version()
    assert (found.state, found.digest, found.manifest_key) == ("ready", SCAN.digest, key_of(SCAN.digest))
    assert (found.images, found.bytes, found.channels, found.width) == (2, 30, {"3": 2}, [1, 2, 3])
    assert found.broken == [{"path": "odd\ufffd.jpg", "reason": "cut short"}]


@pytest.mark.parametrize(
    ("bodies", "reason"),
    [
        ([], "without a report"),
        ([Reported(report=plain(SCAN))], "did not leave it"),
        ([left("manifest.jsonl", "another"), Reported(report=plain(SCAN))], "has digest"),
        ([Reported(report={"images": "many"})], "expected int"),
    ],
)
def test_a_scan_that_does_not_add_up_fails_its_version(
    version: Callable[[], DatasetVersion], finish: Callable[..., None], bodies: list[Body], reason: str
) -> None:
    finish(*bodies)
    found = version()
    assert found.state == "failed"
    assert reason in (found.reason or "")


def test_a_failed_scan_fails_who_waits_for_it(
    version: Callable[[], DatasetVersion],
    finish: Callable[..., None],
    make_run: Callable[..., str],
    fetch_run: Callable[[str], Run],
) -> None:
    waiting = make_run(dataset_version_id=version().id)
    finish(outcome=Outcome(kind="failed", error_kind="user", message="no image is readable"))
    assert version().state == "failed"
    run = fetch_run(waiting)
    assert run.state == "failed"
    assert run.reason is not None
    assert "photos@1 could not be scanned" in run.reason
    assert "no image is readable" in run.reason


def test_a_lost_scan_is_only_tried_again(version: Callable[[], DatasetVersion], finish: Callable[..., None]) -> None:
    finish(outcome=Outcome(kind="lost"))
    assert version().state == "scanning"


@pytest.fixture
def export(engine: Engine, make_run: Callable[..., str]) -> Export:
    source = make_run()
    with unit_of_work(engine) as session:
        digest = f"sha256:{sha('c')}"
        checkpoint = Checkpoint(
            run_id=source, fence=1, step=5, epoch=1.0, bytes=1, digest=digest, key=key_of(digest), created_by="t"
        )
        session.add(checkpoint)
        session.flush()
        return add_version(session, NewVersion(model="net", source=checkpoint, actor="tester"))


def test_an_export_fills_its_version(engine: Engine, export: Export, finish: Callable[..., None]) -> None:
    document: dict[str, Any] = plain(MANIFEST)
    finish(
        left("bundle/model.onnx", "onnx"),
        left("bundle/manifest.json", "manifest"),
        Reported(report={"manifest": document}),
    )
    with unit_of_work(engine) as session:
        found = session.get_one(ModelVersion, export.version.id)
        assert (found.state, found.ref, found.weights_digest) == ("ready", "net:1", MANIFEST.weights_digest)
        assert found.files is not None
        assert found.files["onnx"]["key"] == key_of(sha("onnx"))
        assert found.files["manifest"]["path"] == "manifest.json"
        assert found.manifest == document
        assert found.parity == document["parity"]


def test_a_bundle_without_its_file_fails(engine: Engine, export: Export, finish: Callable[..., None]) -> None:
    finish(left("bundle/manifest.json", "manifest"), Reported(report={"manifest": plain(MANIFEST)}))
    with unit_of_work(engine) as session:
        found = session.get_one(ModelVersion, export.version.id)
        assert found.state == "failed"
        assert "bundle/model.onnx" in (found.reason or "")


def test_a_cancelled_export_fails_its_version(engine: Engine, export: Export) -> None:
    with unit_of_work(engine) as session:
        request_action(session, get_run(session, export.run.id), "cancel", "tester")
    with unit_of_work(engine) as session:
        found = session.get_one(ModelVersion, export.version.id)
        assert (found.state, found.reason) == ("failed", "cancel by tester")
