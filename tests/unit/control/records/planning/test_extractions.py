"""What an extraction is resolved to, what it will take, and where it waits."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from control.db.models import DatasetVersion, Model, ModelVersion, Run
from control.db.session import unit_of_work
from control.errors import ForbiddenRoot, InvalidRequest, NotFound, NotReady
from control.records.datasets.datasets import Scan
from control.records.planning.extractions import (
    Bounds,
    Boxes,
    ExtractionPlan,
    NewExtraction,
    find_boxes,
    plan_extraction,
)
from control.records.runs.submission import create_run
from control.records.scheduling.claims import Claim
from control.records.scheduling.waiting import why
from control.records.scheduling.workers import WorkerIdentity
from detco_core.contract.manifest import BundleFile, InputSpec, Level, Manifest
from detco_core.contract.reader import plain

MANIFEST = Manifest(
    architecture="tiny",
    weights_digest="sha256:0",
    levels=(Level(name="res4", channels=2, stride=16), Level(name="res5", channels=4, stride=32)),
    pooled=4,
    input=InputSpec(),
    files={"onnx": BundleFile(path="m", bytes=1, sha256="sha256:0")},
    parity={},
)
BOUNDS = Bounds(bytes=10_000, image_bytes=1, image_pixels=1)


@pytest.fixture(autouse=True)
def scanned(engine: Engine, make_dataset: Callable[..., Scan]) -> None:
    """`photos@1`, ten images of 64x32 in the middle; and `m:1`, whose lineage knows licences."""
    make_dataset()
    with unit_of_work(engine) as session:
        sizes = {"width": [10, 64, 90], "height": [10, 32, 90], "images": 10, "splits": {"train": 7, "val": 3}}
        session.execute(update(DatasetVersion).values(state="ready", **sizes))
        session.add(Model(name="m", created_by="t"))
        session.flush()
        row = ModelVersion(model="m", number=1, state="ready", created_by="t", formats=["onnx"])
        row.manifest, row.lineage = plain(MANIFEST), {"licenses": {"weights official": "MIT"}}
        row.weights_digest = MANIFEST.weights_digest
        session.add(row)


def ask(engine: Engine, options: dict[str, Any] | None = None, **changed: Any) -> ExtractionPlan:
    asked = {"model": "m:1", "dataset": "photos", "options": options or {}, **changed}
    with unit_of_work(engine) as session:
        return plan_extraction(session, NewExtraction(**asked), BOUNDS)


@pytest.mark.parametrize(
    ("options", "boxes", "size"),
    [
        ({}, None, 10 * 4 * 2 * 1 * 4),
        ({"levels": ["res4", "res5"], "pool": "avg"}, None, 10 * 6 * 4),
        ({"split": "val", "dtype": "int8"}, None, 3 * 4 * 2),
        ({"resize": {"height": 32, "width": 32}}, None, 10 * 4 * 4),
        ({"roi_size": 2}, Boxes(place="/b.json", digest=None, count=5), 5 * 4 * 4 * 4),
    ],
)
def test_the_bytes_are_those_of_the_middle_image(
    engine: Engine, options: dict[str, Any], boxes: Boxes | None, size: int
) -> None:
    plan = ask(engine, options, boxes=boxes)
    assert plan.estimate.bytes == size
    assert plan.estimate.basis.startswith("arithmetic: ")
    assert plan.fits
    assert set(plan.licenses) == {"weights official", "data set photos@1"}


def test_what_is_not_scanned_yet_is_not_known_and_may_be_submitted(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        session.execute(update(DatasetVersion).values(state="scanning", images=None, width=None, height=None))
    plan = ask(engine, {"levels": ["res4"]})
    assert (plan.estimate.bytes, plan.fits) == (None, True)


def test_too_much_is_refused_with_its_size(engine: Engine) -> None:
    plan = ask(engine, {"resize": {"height": 3200, "width": 3200}})
    assert not plan.fits
    with unit_of_work(engine) as session, pytest.raises(InvalidRequest, match="about 1600000 bytes, and at most 10000"):
        plan.run(session, actor="t")


def test_time_is_that_of_earlier_ones_that_asked_the_same(engine: Engine) -> None:
    assert ask(engine).estimate.seconds is None
    with unit_of_work(engine) as session:
        run = create_run(session, plan_extraction(session, asked(), BOUNDS).run(session, actor="t"))
        session.get_one(Run, run.id).progress = {"images_per_second": 4.0}
    assert ask(engine).estimate.seconds == 2.5
    assert ask(engine, {"pool": "avg"}).estimate.seconds is None


def asked() -> NewExtraction:
    return NewExtraction(model="m:1", dataset="photos", options={})


@pytest.mark.parametrize(("slots", "queue"), [({}, "cpu"), ({"gpus": ("GPU-1",)}, "gpu")])
def test_it_takes_a_gpu_where_there_is_one(
    engine: Engine, make_worker: Callable[..., WorkerIdentity], slots: dict[str, Any], queue: str
) -> None:
    make_worker(**slots)
    with unit_of_work(engine) as session:
        run = create_run(session, plan_extraction(session, asked(), BOUNDS).run(session, actor="t"))
        assert (run.kind, run.queue, run.slots_wanted) == ("extract", queue, 1)


@pytest.mark.parametrize(("place", "taken"), [("/boxes/b.json", False), ("upload:upl_1", True), (None, True)])
def test_a_worker_takes_it_that_reads_the_boxes_too(
    engine: Engine,
    make_worker: Callable[..., WorkerIdentity],
    claim_run: Callable[..., Claim | None],
    place: str | None,
    taken: bool,
) -> None:
    with unit_of_work(engine) as session:
        root = session.scalars(select(DatasetVersion.root)).one()
        new = NewExtraction(
            model="m:1", dataset="photos", options={}, boxes=Boxes(place=place, digest=None) if place else None
        )
        run_id = create_run(session, plan_extraction(session, new, BOUNDS).run(session, actor="t")).id
    assert (claim_run(make_worker(roots=(root,)), "cpu") is not None) is taken
    if not taken:
        with unit_of_work(engine) as session:
            found = why(session, session.get_one(Run, run_id))
            assert found is not None
            assert found.detail == f"none of the 1 workers reads {root} and {place}: start one that does"
    assert taken or claim_run(make_worker("b", roots=(root, "/boxes")), "cpu") is not None


def test_what_is_named_must_be_there(engine: Engine) -> None:
    names: list[dict[str, Any]] = [{"model": "m:2"}, {"model": "none"}, {"dataset": "none"}]
    for changed in names:
        with pytest.raises(NotFound):
            ask(engine, **changed)
    with pytest.raises(InvalidRequest, match="splits: train, val"):
        ask(engine, {"split": "test"})
    with pytest.raises(InvalidRequest, match="this model has res4, res5"):
        ask(engine, {"levels": ["res3"]})
    with unit_of_work(engine) as session:
        session.execute(update(ModelVersion).values(state="exporting"))
    with pytest.raises(NotReady):
        ask(engine)


def test_boxes_lie_below_the_roots(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text("{}")
    with unit_of_work(engine) as session:
        roots: Sequence[str] = (str(tmp_path),)
        assert find_boxes(session, str(tmp_path / "boxes.json"), roots).place == str(tmp_path / "boxes.json")
        with pytest.raises(ForbiddenRoot, match="boxes_from"):
            find_boxes(session, "/etc/passwd", roots)
        with pytest.raises(InvalidRequest, match="there is no upload"):
            find_boxes(session, "upload:none", roots)
