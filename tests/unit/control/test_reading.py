"""What is read for people is verified, and what is damaged is remembered."""

import hashlib
from pathlib import Path

import pytest
from sqlalchemy import Engine

from control import collector, reading
from control.db.models import StoredObject
from control.db.session import open_engine, unit_of_work
from control.errors import ArtifactMissing, DigestMismatch
from control.reading import ReadingRoom
from control.records.store import objects
from control.storage.base import key_of
from control.storage.cache import Cache
from control.storage.local import LocalStore

CONTENT = b"weights" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()


class Remote:
    """A store whose files cannot be opened in place, as a bucket's."""

    def __init__(self, folder: Path) -> None:
        self.store = LocalStore(folder)
        self.fetched = 0

    def fetch(self, key: str, dest: Path, sha256: str) -> None:
        self.fetched += 1
        self.store.fetch(key, dest, sha256)


@pytest.fixture
def local(tmp_path: Path, sqlite_engine: Engine) -> LocalStore:
    with unit_of_work(sqlite_engine) as session:
        session.query(StoredObject).delete()
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    store = LocalStore(tmp_path / "artifacts")
    store.put(file, SHA)
    with unit_of_work(sqlite_engine) as session:
        objects.hold(session, key_of(SHA), len(CONTENT))
    return store


def room(engine: Engine, store: object, tmp_path: Path) -> ReadingRoom:
    return ReadingRoom(engine, store, Cache(tmp_path / "cache", 10**6, store))  # type: ignore[arg-type]  # a part of one


def damage(engine: Engine) -> list[str | None]:
    with unit_of_work(engine) as session:
        return [row.damage for row in objects.list_damaged(session)]


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_what_is_sound_is_read_and_verified_once(
    sqlite_engine: Engine, local: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    store = local if kind == "local" else Remote(local.folder)
    reads = room(sqlite_engine, store, tmp_path)
    found = reads.find(f"sha256:{SHA}")
    assert found.size == len(CONTENT)
    assert b"".join(found.read(0, found.size)) == CONTENT
    assert b"".join(found.read(5, 9)) == CONTENT[5:9]

    def refuse(*_: object) -> None:
        raise AssertionError("it was verified a moment ago")

    monkeypatch.setattr(reading, "verify", refuse)
    assert b"".join(reads.find(f"sha256:{SHA}").read(0, 3)) == CONTENT[:3]
    assert not isinstance(store, Remote) or store.fetched == 1


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_what_was_damaged_is_refused_and_known(
    sqlite_engine: Engine, local: LocalStore, tmp_path: Path, kind: str
) -> None:
    store = local if kind == "local" else Remote(local.folder)
    reads = room(sqlite_engine, store, tmp_path)
    if kind == "local":
        reads.find(SHA)  # sound until now
    (local.folder / key_of(SHA)).write_bytes(b"x" + CONTENT[1:])
    with pytest.raises(DigestMismatch):
        reads.find(SHA)
    assert len(damage(sqlite_engine)) == 1
    assert collector.recheck(sqlite_engine, local) == 0
    (local.folder / key_of(SHA)).write_bytes(CONTENT)
    assert collector.recheck(sqlite_engine, local) == 1
    assert damage(sqlite_engine) == []
    assert reads.find(SHA).size == len(CONTENT)


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_what_is_lost_is_refused_and_known(sqlite_engine: Engine, local: LocalStore, tmp_path: Path, kind: str) -> None:
    local.delete(key_of(SHA))
    with pytest.raises(ArtifactMissing):
        room(sqlite_engine, local if kind == "local" else Remote(local.folder), tmp_path).find(SHA)
    assert len(damage(sqlite_engine)) == 1


def test_a_damaged_copy_in_the_cache_is_fetched_again(sqlite_engine: Engine, local: LocalStore, tmp_path: Path) -> None:
    remote = Remote(local.folder)
    reads = room(sqlite_engine, remote, tmp_path)
    found = reads.find(SHA)
    found.path.write_bytes(b"decayed")
    assert b"".join(reads.find(SHA).read(0, 10**6)) == CONTENT
    assert remote.fetched == 2
    assert damage(sqlite_engine) == []


def test_a_deletion_breaks_no_download(sqlite_engine: Engine, local: LocalStore, tmp_path: Path) -> None:
    chunks = room(sqlite_engine, local, tmp_path).find(SHA).read(0, len(CONTENT))
    first = next(chunks)
    local.delete(key_of(SHA))
    assert first + b"".join(chunks) == CONTENT


def test_damage_is_told_when_the_database_is_away(tmp_path: Path) -> None:
    nowhere = open_engine(f"sqlite:///{tmp_path}/no-tables.sqlite3")
    with pytest.raises(ArtifactMissing), reading.watched(nowhere, key_of(SHA)):
        raise ArtifactMissing("it is gone")
    nowhere.dispose()
