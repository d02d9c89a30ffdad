from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from control.db.models import Checkpoint
from control.db.session import unit_of_work
from control.errors import InvalidRequest, NotFound
from control.records.models.registry import (
    Export,
    NewVersion,
    add_version,
    get_model,
    get_version,
    list_models,
    list_pins,
    list_versions,
    pin,
    unpin,
)
from control.records.runs.runs import get_run
from control.storage.base import key_of
from detco_core.contract.manifest import EXPORT_FORMATS

Exporting = Callable[..., Export]


@pytest.fixture
def export(engine: Engine, make_run: Callable[..., str]) -> Exporting:
    """Asks for the next version of a model: `export("net")`."""
    run_id, digest = make_run(), f"sha256:{'a' * 64}"
    row = Checkpoint(
        run_id=run_id, fence=1, step=1, epoch=1.0, bytes=1, digest=digest, key=key_of(digest), created_by="t"
    )
    with unit_of_work(engine) as session:
        session.add(row)

    def ask(model: str) -> Export:
        with unit_of_work(engine) as session:
            checkpoint = session.get_one(Checkpoint, row.id)
            return add_version(session, NewVersion(model=model, source=checkpoint, actor="tester", license="MIT"))

    return ask


def test_a_model_is_made_on_first_use_and_counts_on(engine: Engine, export: Exporting) -> None:
    first, second, other = export("net"), export("net"), export("other")
    assert [made.version.ref for made in (first, second, other)] == ["net:1", "net:2", "other:1"]
    with unit_of_work(engine) as session:
        run = get_run(session, first.run.id, ["export"])
        assert run.spec == {
            "checkpoint_id": first.version.checkpoint_id,
            "weights_id": None,
            "model_version_id": first.version.id,
            "formats": list(EXPORT_FORMATS),
            "license": "MIT",
            "input": None,
        }
        assert get_version(session, "net", 1).run_id == run.id
        assert [version.number for version in list_versions(session, "net").items] == [2, 1]
        assert {model.name for model in list_models(session).items} == {"net", "other"}


def test_numbers_are_never_given_twice(engine: Engine, export: Exporting) -> None:
    with ThreadPoolExecutor(4) as pool:
        numbers = [made.version.number for made in pool.map(export, ["net"] * 8)]
    assert sorted(numbers) == list(range(1, 9))


@pytest.mark.parametrize("name", ["", "a/b", "a:1", "a@b", ".hidden", "é", "a" * 101, "a\n"])
def test_a_name_cannot_be_mistaken_for_a_reference(export: Exporting, name: str) -> None:
    with pytest.raises(InvalidRequest, match="name: must be"):
        export(name)


def test_what_is_not_there(engine: Engine, export: Exporting) -> None:
    export("net")
    with unit_of_work(engine) as session:
        for call in (
            lambda: get_model(session, "none"),
            lambda: list_versions(session, "none"),
            lambda: get_version(session, "net", 2),
        ):
            with pytest.raises(NotFound):
                call()


def test_pins(engine: Engine, export: Exporting) -> None:
    version = export("net").version
    for _ in range(2):
        with unit_of_work(engine) as session:
            pin(session, version, "detector", "tester")
    with unit_of_work(engine) as session:
        assert [held.consumer for held in list_pins(session, version).items] == ["detector"]
        unpin(session, version, "detector")
    with unit_of_work(engine) as session, pytest.raises(NotFound, match="net:1 for detector"):
        unpin(session, version, "detector")
