"""Deletion from the tables to the store, killed at each step."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from control import collector
from control.db.models import Checkpoint, Deletion, StoredObject
from control.db.session import unit_of_work
from control.errors import BeingRemoved, StoreError
from control.records.runs import checkpoints
from control.records.runs.actions import request_action
from control.records.runs.deleting import delete_run
from control.records.runs.runs import get_run
from control.records.store import objects
from control.retention import Policy
from control.storage.base import key_of
from control.storage.local import LocalStore
from tests.unit.control.records.saved import save

POLICY = Policy(latest=1)
DAY = timedelta(days=1)


class Killed(BaseException):
    """The process ends here."""


class Store(LocalStore):
    """A store that kills its caller before or after it deletes."""

    kill: str = ""

    def delete(self, key: str) -> None:
        if self.kill == "before":
            raise Killed
        super().delete(key)
        if self.kill == "after":
            raise Killed
        if self.kill == "away":
            raise StoreError("the store is away")

    def keep(self, content: bytes) -> str:
        """Store a content; its key."""
        digest = hashlib.sha256(content).hexdigest()
        path = self.folder / "incoming"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return self.put(path, digest)

    def has(self, content: bytes) -> bool:
        return self.exists(key_of(hashlib.sha256(content).hexdigest()))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "artifacts")


def saved(engine: Engine, store: Store, run_id: str, *contents: bytes) -> list[str]:
    for content in contents:
        store.keep(content)
    return save(engine, run_id, dict(enumerate(contents, 1)))


def clean(engine: Engine, store: Store) -> int:
    return collector.look_after(engine, store, POLICY)


def hours_pass(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        for row in session.query(StoredObject):
            row.changed_at -= timedelta(hours=1)


def test_what_is_not_kept_is_deleted(engine: Engine, store: Store, make_run: Callable[..., str]) -> None:
    saved(engine, store, make_run(), b"one", b"shared", b"three")
    saved(engine, store, make_run(), b"shared")
    assert clean(engine, store) == len(b"one")
    assert [store.has(content) for content in (b"one", b"shared", b"three")] == [False, True, True]
    with unit_of_work(engine) as session:
        steps = {row.step: row.state for row in session.query(Checkpoint).where(Checkpoint.step > 1)}
        assert session.query(Checkpoint).where(Checkpoint.state == "deleted").count() == 2
        assert steps == {2: "deleted", 3: "stored"}
    assert clean(engine, store) == 0


@pytest.mark.parametrize("when", ["before", "after", "away"])
def test_a_collector_that_is_killed_is_followed(
    engine: Engine, store: Store, make_run: Callable[..., str], when: str
) -> None:
    saved(engine, store, make_run(), b"old", b"new")
    store.kill = when
    with pytest.raises((Killed, StoreError)):
        clean(engine, store)
    store.kill = ""
    with unit_of_work(engine) as session:
        assert session.get_one(StoredObject, key_of(hashlib.sha256(b"old").hexdigest())).state == "removing"
    assert clean(engine, store) == 0  # the first one may still be at it
    hours_pass(engine)
    clean(engine, store)
    assert (store.has(b"old"), store.has(b"new")) == (False, True)
    with unit_of_work(engine) as session:
        assert {row.step: row.state for row in session.query(Checkpoint)} == {1: "deleted", 2: "stored"}


def test_the_same_content_saved_meanwhile_is_not_lost(
    engine: Engine, store: Store, make_run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that found the object in the store, and registers it while it is being deleted, or just after."""
    saved(engine, store, make_run(), b"content", b"new")
    other = make_run()
    found_there = store.keep(b"content")  # nothing is written: it is there
    refused = []

    def delete(key: str) -> None:
        with pytest.raises(BeingRemoved):
            save(engine, other, {1: b"content"})
        refused.append(key)
        LocalStore.delete(store, key)

    monkeypatch.setattr(store, "delete", delete)
    clean(engine, store)
    assert refused == [found_there]
    # It is told to store it again, and what it then registers is there.
    assert store.keep(b"content") == found_there
    save(engine, other, {1: b"content"})
    clean(engine, store)
    assert store.has(b"content")


def test_a_process_that_slept_deletes_nothing_more(
    engine: Engine, store: Store, make_run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(engine, store, make_run(), b"old", b"new")
    monkeypatch.setattr(collector, "PATIENCE", -1.0)
    with pytest.raises(StoreError, match="later round"):
        clean(engine, store)
    assert store.has(b"old")


def test_a_deleted_run_leaves_nothing_in_the_store(engine: Engine, store: Store, make_run: Callable[..., str]) -> None:
    run_id = make_run()
    saved(engine, store, run_id, b"one", b"two")
    with unit_of_work(engine) as session:
        request_action(session, get_run(session, run_id), "cancel", "ada")
    with unit_of_work(engine) as session:
        assert delete_run(session, run_id, "pretrain", "ada").bytes == 6
    assert clean(engine, store) == 6
    assert list(store.entries()) == []
    with unit_of_work(engine) as session:
        assert session.query(StoredObject).all() == []
        assert [row.state for row in session.query(Checkpoint)] == ["deleted", "deleted"]
        assert [row.state for row in session.query(Deletion)] == ["deleted"]


def test_orphans(engine: Engine, store: Store, make_run: Callable[..., str]) -> None:
    saved(engine, store, make_run(), b"known")
    store.keep(b"orphan")
    (store.folder / "sha256" / "ab").mkdir(exist_ok=True)
    (store.folder / "sha256" / "ab" / ".half").write_bytes(b"half written")
    assert collector.find_orphans(engine, store, DAY) == collector.Orphans(0, 0)
    assert collector.sweep_orphans(engine, store, DAY) == collector.Orphans(0, 0)
    none = timedelta(seconds=-5)
    assert collector.find_orphans(engine, store, none) == collector.Orphans(1, 6)
    assert store.has(b"orphan")
    assert collector.sweep_orphans(engine, store, none) == collector.Orphans(1, 6 + 12)
    assert (store.has(b"orphan"), store.has(b"known")) == (False, True)
    assert not (store.folder / "sha256" / "ab" / ".half").exists()


def test_a_pass_over_all_runs_is_harmless(engine: Engine, store: Store, make_run: Callable[..., str]) -> None:
    saved(engine, store, make_run(), b"1", b"2")
    clean(engine, store)
    with unit_of_work(engine) as session:
        checkpoints.reconsider_all(session)
        assert objects.totals(session) == {"stored": (1, 1)}
    assert clean(engine, store) == 0
