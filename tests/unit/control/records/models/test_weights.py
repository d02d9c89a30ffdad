import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from control.db.models import Artifact, ModelVersion, Run, StoredObject, Weights
from control.db.session import unit_of_work
from control.errors import ForbiddenRoot, InUse, InvalidRequest, NotFound, NotReady
from control.records.life.feed import ingest
from control.records.life.leases import Outcome, close
from control.records.models import weights as records
from control.records.models.registry import NewVersion, add_version
from control.records.models.weights import NewWeights, add_weights, delete_weights, get_weights, usable_weights
from control.records.runs.actions import request_action
from control.records.runs.runs import get_run
from control.records.scheduling.claims import Claim
from control.records.scheduling.waiting import why
from control.records.scheduling.workers import WorkerIdentity
from control.storage.base import key_of
from detco_core.contract.events import ArtifactSaved, Body, Event, Reported
from detco_core.contract.reader import plain
from detco_core.contract.weights import KeyReport, WeightsReport

REPORT = WeightsReport(
    architecture="resnet18",
    format="torchvision",
    digest=f"sha256:{'d' * 64}",
    keys=KeyReport(matched=("conv1.weight",), missing=(), unexpected=("fc.weight", "fc.bias")),
)
FILE = ArtifactSaved(name="weights.pth", path="weights.pth", bytes=7, sha256=hashlib.sha256(b"tensors").hexdigest())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = (tmp_path / "official.pth").resolve()
    path.write_bytes(b"tensors of somebody else")
    return path


@pytest.fixture
def add(engine: Engine, file: Path) -> Callable[..., Weights]:
    def make(**fields: object) -> Weights:
        new = NewWeights(**{"uri": str(file), "architecture": "resnet18", "actor": "ada", **fields})  # type: ignore[arg-type]  # any
        with unit_of_work(engine) as session:
            return add_weights(session, new, [str(file.parent)])

    return make


@pytest.fixture
def imported(
    engine: Engine, make_worker: Callable[..., WorkerIdentity], claim_run: Callable[..., Claim | None]
) -> Callable[..., None]:
    """Does the import that is next, which says `bodies`."""

    def work(*bodies: Body, outcome: Outcome | None = None) -> None:
        claim = claim_run(make_worker(), "cpu")
        assert claim is not None
        assert claim.kind == "import"
        with unit_of_work(engine) as session:
            events = [Event(seq, 0.0, body) for seq, body in enumerate(bodies, 1)]
            assert ingest(session, claim.run_id, claim.fence, events, 1)
            assert close(session, claim.run_id, claim.fence, outcome or Outcome(kind="completed", exit_code=0))

    return work


def test_weights_are_found_by_id_and_by_newest_name(engine: Engine) -> None:
    rows = [
        Weights(id=f"wts_{n}", name="official", uri="/w.pth", architecture="resnet50", created_by="t") for n in (1, 2)
    ]
    with unit_of_work(engine) as session:
        session.add_all(rows)
    with unit_of_work(engine) as session:
        assert get_weights(session, "wts_1").id == "wts_1"
        assert get_weights(session, "official").id == "wts_2"
        assert [row.id for row in records.list_weights(session).items] == ["wts_2", "wts_1"]
        with pytest.raises(NotFound, match="no weights 'x'"):
            get_weights(session, "x")


def test_adding_submits_an_import(add: Callable[..., Weights], fetch_run: Callable[[str], Run], file: Path) -> None:
    weights = add(name="official", license="MIT", strict=False, channels=4)
    assert (weights.state, weights.architecture, weights.license) == ("checking", "resnet18", "MIT")
    run = fetch_run(weights.run_id or "")
    assert (run.kind, run.queue, run.max_attempts) == ("import", "cpu", 1)
    assert run.spec == {"weights_id": weights.id, "path": str(file), "channels": 4, "strict": False}


def test_the_place_is_checked(add: Callable[..., Weights], file: Path) -> None:
    with pytest.raises(ForbiddenRoot, match="outside the folders"):
        add(uri="/etc/passwd")
    (file.parent / "way-out").symlink_to("/etc/passwd")
    with pytest.raises(ForbiddenRoot):
        add(uri=str(file.parent / "way-out"))
    with pytest.raises(InvalidRequest, match="not a file"):
        add(uri=str(file.parent))
    with pytest.raises(InvalidRequest, match="there is no upload"):
        add(uri="upload:upl_1")
    file.write_bytes(b"")
    with pytest.raises(InvalidRequest, match="is empty"):
        add()


@pytest.mark.parametrize("name", ["a b", "random", "a:1"])
def test_a_name_must_be_one(add: Callable[..., Weights], name: str) -> None:
    with pytest.raises(InvalidRequest, match="name"):
        add(name=name)


def test_an_import_fills_its_weights(
    engine: Engine, add: Callable[..., Weights], imported: Callable[..., None]
) -> None:
    weights = add()
    imported(FILE, Reported(report=plain(REPORT)))
    with unit_of_work(engine) as session:
        found = get_weights(session, weights.id)
    assert (found.state, found.reason, found.format) == ("ready", None, "torchvision")
    assert (found.digest, found.key_report) == (REPORT.digest, plain(REPORT.keys))
    assert (found.key, found.file_digest, found.file_bytes) == (key_of(FILE.sha256), f"sha256:{FILE.sha256}", 7)


@pytest.mark.parametrize(
    ("bodies", "outcome", "reason"),
    [
        ((), None, "without a report"),
        ((Reported(report=plain(REPORT)),), None, "weights.pth"),
        ((FILE, Reported(report={"format": "tarot"})), None, "tarot"),
        ((), Outcome(kind="failed", error_kind="user", message="no resnet18"), "no resnet18"),
    ],
)
def test_an_import_that_fails_says_why_and_fails_who_waits(
    engine: Engine,
    add: Callable[..., Weights],
    imported: Callable[..., None],
    make_run: Callable[..., str],
    fetch_run: Callable[[str], Run],
    bodies: tuple[Body, ...],
    outcome: Outcome | None,
    reason: str,
) -> None:
    weights = add()
    waiting = make_run(after=(weights.run_id,), spec={"config": {}, "init": {"weights_id": weights.id}})
    with unit_of_work(engine) as session:
        assert getattr(why(session, get_run(session, waiting)), "reason", None) == "weights_checking"
    imported(*bodies, outcome=outcome)
    with unit_of_work(engine) as session:
        found = get_weights(session, weights.id)
        assert found.state == "failed"
        assert reason in (found.reason or "")
        with pytest.raises(NotReady, match="could not be imported"):
            usable_weights(session, weights.id)
    run = fetch_run(waiting)
    assert run.state == "failed"
    assert f"weights {weights.id} could not be imported" in (run.reason or "")


def test_an_import_goes_to_a_worker_that_sees_the_file(
    engine: Engine,
    add: Callable[..., Weights],
    make_worker: Callable[..., WorkerIdentity],
    claim_run: Callable[..., Claim | None],
    file: Path,
) -> None:
    run_id = add().run_id or ""
    assert claim_run(make_worker(host="b", roots=("/elsewhere", f"{file.parent}/official")), "cpu") is None
    with unit_of_work(engine) as session:
        assert getattr(why(session, get_run(session, run_id)), "reason", None) == "weights_out_of_reach"
    assert claim_run(make_worker(roots=(str(file.parent),)), "cpu") is not None


class TestRemoval:
    @pytest.fixture
    def ready(self, add: Callable[..., Weights], imported: Callable[..., None]) -> Weights:
        weights = add()
        imported(FILE, Reported(report=plain(REPORT)))
        return weights

    def test_frees_the_file_and_names_what_was_made(
        self, engine: Engine, ready: Weights, make_run: Callable[..., str]
    ) -> None:
        run_id = make_run(spec={"config": {}, "init": {"weights_id": ready.id}})
        with unit_of_work(engine) as session:
            request_action(session, get_run(session, run_id), "cancel", "ada")
            version = add_version(session, NewVersion(model="net", source=ready, actor="ada")).version
            request_action(session, get_run(session, version.run_id or ""), "cancel", "ada")
        with unit_of_work(engine) as session:
            session.get_one(ModelVersion, version.id).state = "ready"
        with unit_of_work(engine) as session:
            planned = delete_weights(session, ready.id, "ada", dry_run=True)
            assert get_weights(session, ready.id).state == "ready"
        with unit_of_work(engine) as session:
            assert delete_weights(session, ready.id, "ada") == planned
        assert planned.derived == (f"run {run_id}", "model version net:1")
        assert planned.bytes == 7
        with unit_of_work(engine) as session:
            assert session.get(Weights, ready.id) is None
            assert session.query(Artifact).all() == []
            assert session.get_one(StoredObject, key_of(FILE.sha256)).state == "doomed"
        with unit_of_work(engine) as session:
            assert delete_weights(session, ready.id, "ada") == planned
            with pytest.raises(NotFound):
                delete_weights(session, "wts_never", "ada")

    def test_is_refused_while_a_job_needs_them(
        self, engine: Engine, ready: Weights, make_run: Callable[..., str]
    ) -> None:
        evaluation = make_run(kind="evaluate", spec={"source": {"weights_id": ready.id}})
        with unit_of_work(engine) as session:
            export = add_version(session, NewVersion(model="net", source=ready, actor="ada")).run.id
        with unit_of_work(engine) as session, pytest.raises(InUse) as refused:
            delete_weights(session, ready.id, "ada")
        assert refused.value.holders == (f"evaluation {evaluation}", f"export {export}")

    def test_is_refused_while_they_are_checked(self, engine: Engine, add: Callable[..., Weights]) -> None:
        weights = add()
        with unit_of_work(engine) as session, pytest.raises(InUse, match=f"import {weights.run_id}"):
            delete_weights(session, weights.id, "ada")

    def test_leaves_a_file_that_others_need(
        self, engine: Engine, ready: Weights, add: Callable[..., Weights], imported: Callable[..., None]
    ) -> None:
        add()
        imported(FILE, Reported(report=plain(REPORT)))
        with unit_of_work(engine) as session:
            assert delete_weights(session, ready.id, "ada").bytes == 0
