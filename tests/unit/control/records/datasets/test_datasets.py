from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from control.db.models import Dataset, DatasetVersion, OutboxEntry, Run
from control.db.session import unit_of_work
from control.errors import AlreadyExists, ForbiddenRoot, InvalidRequest, NotFound, NotReady
from control.records.datasets.datasets import (
    NewDataset,
    Scan,
    add_dataset,
    add_version,
    get_dataset,
    get_version,
    list_datasets,
    list_versions,
    resolve,
)


def new(uri: object, name: str = "photos") -> NewDataset:
    return NewDataset(name=name, kind="images", uri=str(uri), actor="tester", license="MIT")


def test_a_data_set_comes_with_its_version_and_its_scan(engine: Engine, photos: Path) -> None:
    with unit_of_work(engine) as session:
        scan = add_dataset(session, new(photos), [str(photos.parent)])
    with unit_of_work(engine) as session:
        assert get_dataset(session, "photos").root == str(photos)
        version = get_version(session, "photos", 1)
        assert (version.ref, version.state, version.run_id) == ("photos@1", "scanning", scan.run.id)
        run = session.get_one(Run, scan.run.id)
        assert (run.kind, run.queue, run.spec) == ("check", "cpu", {"dataset_version_id": version.id})
        assert (run.dataset, run.max_attempts) == ("photos@1", 1)
        assert session.scalars(select(OutboxEntry.queue)).all() == ["cpu"]


def test_what_is_refused_leaves_nothing(engine: Engine, photos: Path) -> None:
    for bad, error in ((new("/etc"), ForbiddenRoot), (new(photos, "a/b"), InvalidRequest)):
        with pytest.raises(error), unit_of_work(engine) as session:
            add_dataset(session, bad, [str(photos.parent)])
    with unit_of_work(engine) as session:
        for table in (Dataset, DatasetVersion, Run):
            assert session.scalars(select(table)).all() == []


def test_a_name_is_taken_once(engine: Engine, make_dataset: Callable[..., Scan]) -> None:
    make_dataset()
    with pytest.raises(AlreadyExists, match="add a version"):
        make_dataset()


def test_of_many_at_once_one_gets_the_name(engine: Engine, make_dataset: Callable[..., Scan]) -> None:
    def attempt(_: int) -> bool:
        try:
            make_dataset()
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, range(6))) == 1


def test_versions_count_on(engine: Engine, make_dataset: Callable[..., Scan], photos: Path) -> None:
    make_dataset()
    with unit_of_work(engine) as session:
        scan = add_version(session, "photos", ["*.tmp"], "other", [str(photos.parent)])
        assert (scan.version.number, scan.version.exclude, scan.run.created_by) == (2, ["*.tmp"], "other")
        assert [version.number for version in list_versions(session, "photos")] == [2, 1]
        with pytest.raises(NotFound, match="no data set 'none'"):
            add_version(session, "none", [], "other", ["/"])


def test_a_root_that_was_moved_out_is_refused_for_new_versions(
    engine: Engine, make_dataset: Callable[..., Scan], photos: Path
) -> None:
    make_dataset()
    with unit_of_work(engine) as session, pytest.raises(ForbiddenRoot):
        add_version(session, "photos", [], "tester", ["/elsewhere"])


def test_references(engine: Engine, make_dataset: Callable[..., Scan], photos: Path) -> None:
    make_dataset()
    with unit_of_work(engine) as session:
        add_version(session, "photos", [], "tester", [str(photos.parent)])
    with unit_of_work(engine) as session:
        assert resolve(session, "photos").number == 2
        assert resolve(session, "photos@1").number == 1
        for wrong in ("photos@3", "photos@0", "photos@x", "photos@", "photos@1@1", "none", "none@1", "photos@²"):
            with pytest.raises(NotFound):
                resolve(session, wrong)
        session.execute(update(DatasetVersion).where(DatasetVersion.number == 2).values(state="failed", reason="r"))
        session.expire_all()
        assert resolve(session, "photos").number == 1
        session.execute(update(DatasetVersion).values(state="failed", reason="no image"))
        session.expire_all()
        with pytest.raises(NotReady, match="no image"):
            resolve(session, "photos")


def test_lists(engine: Engine, make_dataset: Callable[..., Scan]) -> None:
    for name in ("a", "b"):
        make_dataset(name)
    with unit_of_work(engine) as session:
        assert {dataset.name for dataset in list_datasets(session).items} == {"a", "b"}
