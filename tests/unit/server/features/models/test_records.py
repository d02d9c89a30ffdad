"""The catalogue over real tables and a real store."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from control.db.migrate import upgrade
from control.db.models import Alias, Model, ModelVersion, Pin
from control.db.session import open_engine, unit_of_work
from control.storage.base import file_digest
from control.storage.local import LocalStore
from detco_core.contract.errors import BundleError
from detco_core.contract.manifest import read_manifest
from detco_core.inference.sessions.session import Session
from server.features.models.records import RecordsCatalog


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = open_engine(f"sqlite:///{tmp_path / 'detco.sqlite3'}")
    upgrade(engine)
    return engine


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "artifacts")


@pytest.fixture
def catalog(engine: Engine, store: LocalStore, bundles: list[Path]) -> RecordsCatalog:
    """`tiny:1` ready, in production and pinned; `tiny:2` ready; `tiny:3` still exporting."""
    with unit_of_work(engine) as session:
        session.add(Model(name="tiny", last_number=3, created_by="test"))
        session.flush()
        for number, state in ((1, "ready"), (2, "ready"), (3, "exporting")):
            session.add(version(store, bundles[number - 1], number, state))
        session.flush()
        session.add(Alias(model="tiny", name="production", model_version_id="mv_1", number=1, created_by="test"))
        session.add(Pin(model_version_id="mv_1", consumer="detector", created_by="test"))
    return RecordsCatalog(engine, store)


def version(store: LocalStore, bundle: Path, number: int, state: str) -> ModelVersion:
    files: dict[str, Any] = {}
    for name, path in (("manifest", "manifest.json"), ("onnx", "model.onnx")):
        digest = file_digest(bundle / path)
        key = store.put(bundle / path, digest)
        files[name] = {"path": path, "bytes": (bundle / path).stat().st_size, "digest": digest, "key": key}
    return ModelVersion(
        id=f"mv_{number}",
        model="tiny",
        number=number,
        state=state,
        formats=["onnx"],
        weights_digest=read_manifest(bundle).weights_digest if state == "ready" else None,
        files=files if state == "ready" else None,
        created_by="test",
    )


def test_aliases_and_pins_are_wanted(catalog: RecordsCatalog, bundles: list[Path]) -> None:
    wanted = catalog.wanted()
    assert set(wanted.aliases) == {"tiny@production"}
    ref = wanted.aliases["tiny@production"]
    assert (ref.id, str(ref), ref.digest) == ("mv_1", "tiny:1", read_manifest(bundles[0]).weights_digest)
    assert wanted.pinned == {ref}


def test_what_is_deleted_is_told(catalog: RecordsCatalog, engine: Engine) -> None:
    assert catalog.wanted(("mv_1", "mv_2", "mv_4")).deleted == {"mv_4"}
    with unit_of_work(engine) as session:
        session.get_one(ModelVersion, "mv_2").state = "deleted"
    assert catalog.wanted(("mv_1", "mv_2")).deleted == {"mv_2"}


def test_only_ready_versions_are_found(catalog: RecordsCatalog) -> None:
    assert str(catalog.find("tiny", 2)) == "tiny:2"
    assert catalog.find("tiny", 3) is None
    assert catalog.find("tiny", 9) is None
    assert catalog.find("other", 1) is None


def test_a_bundle_is_fetched_from_the_store(catalog: RecordsCatalog, tmp_path: Path, bundles: list[Path]) -> None:
    ref = catalog.find("tiny", 2)
    assert ref is not None
    (tmp_path / "bundle").mkdir()
    catalog.fetch(ref, tmp_path / "bundle")
    assert Session.open(tmp_path / "bundle").manifest == read_manifest(bundles[1])


def test_a_version_that_is_gone_is_said(catalog: RecordsCatalog, engine: Engine, tmp_path: Path) -> None:
    ref = catalog.find("tiny", 2)
    assert ref is not None
    with unit_of_work(engine) as session:
        session.delete(session.get_one(ModelVersion, "mv_2"))
    with pytest.raises(BundleError, match="tiny:2"):
        catalog.fetch(ref, tmp_path)
