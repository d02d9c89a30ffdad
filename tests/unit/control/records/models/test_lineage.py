from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from control.db.models import Checkpoint, Dataset, ModelVersion, Run, Weights
from control.db.session import unit_of_work
from control.records.datasets.datasets import Scan
from control.records.models.lineage import inherited, lineage_of
from control.records.models.registry import NewVersion, add_version
from detco_core.contract.manifest import Lineage
from tests.unit.control.records.saved import save

SPEC = {"config": {"method": {"name": "detco"}}}


def licenses(engine: Engine, checkpoint: str) -> dict[str, str]:
    with unit_of_work(engine) as session:
        return lineage_of(session, session.get_one(Checkpoint, checkpoint)).licenses


@pytest.fixture
def weights(engine: Engine) -> str:
    with unit_of_work(engine) as session:
        row = Weights(name="official", uri="/w.pth", architecture="resnet18", license="Apache-2.0", created_by="t")
        session.add(row)
        session.flush()
        return row.id


def test_every_licence_on_the_way_is_named(
    engine: Engine, make_run: Callable[..., str], make_dataset: Callable[..., Scan], weights: str
) -> None:
    photos = make_dataset()
    with unit_of_work(engine) as session:
        session.get_one(Dataset, "photos").license = "CC-BY-4.0"
    first = make_run(spec=SPEC | {"init": {"weights_id": weights}}, dataset_version_id=photos.version.id)
    (begun,) = save(engine, first, {1: b"1"})
    both = {"data set photos@1": "CC-BY-4.0", "weights official": "Apache-2.0"}
    assert licenses(engine, begun) == both
    fork = make_run(spec=SPEC | {"resume": {"checkpoint_id": begun}}, forked_from=first)
    (forked,) = save(engine, fork, {2: b"2"})
    assert licenses(engine, forked) == both
    with unit_of_work(engine) as session:
        version = add_version(session, NewVersion(model="net", source=session.get_one(Checkpoint, begun), actor="a"))
        session.get_one(ModelVersion, version.version.id).lineage = {"licenses": both}
    warm = make_run(spec=SPEC | {"init": {"model_version_id": version.version.id}})
    (warmed,) = save(engine, warm, {3: b"3"})
    assert licenses(engine, warmed) == both


def test_weights_have_their_own_and_deleted_ones_none(
    engine: Engine, make_run: Callable[..., str], weights: str
) -> None:
    (begun,) = save(engine, make_run(spec=SPEC | {"init": {"weights_id": weights}}), {1: b"1"})
    with unit_of_work(engine) as session:
        row = session.get_one(Weights, weights)
        assert lineage_of(session, row) == Lineage(weights=weights, licenses={"weights official": "Apache-2.0"})
        session.delete(row)
    assert licenses(engine, begun) == {f"weights {weights}, deleted since": ""}


def test_what_points_at_itself_ends(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id = make_run(spec=SPEC)
    (checkpoint,) = save(engine, run_id, {1: b"1"})
    with unit_of_work(engine) as session:
        session.get_one(Run, run_id).spec = SPEC | {"resume": {"checkpoint_id": checkpoint}}
    assert licenses(engine, checkpoint) == {}


@pytest.mark.parametrize(
    ("found", "license"),
    [
        ({}, None),
        ({"a": "MIT", "b": "MIT"}, "MIT"),
        ({"a": "MIT", "b": "CC0"}, None),
        ({"a": "MIT", "b": ""}, None),
        ({"a": ""}, None),
    ],
)
def test_one_licence_of_all_is_inherited(found: dict[str, str], license: str | None) -> None:
    assert inherited(Lineage(licenses=found)) == license
