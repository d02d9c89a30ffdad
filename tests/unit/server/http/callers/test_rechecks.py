"""A token that was ended before an outage is not known in it, shown meanwhile or not."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from control.db.session import open_engine, unit_of_work
from control.records.access.principals import authenticate
from control.records.access.quotas import Quota, set_quota
from control.records.access.tokens import NewToken, create_token, revoke_token, rotate_token
from server.http.callers.known_tokens import KnownTokens
from server.http.callers.rechecks import Rechecks


@pytest.fixture
def known(tmp_path: Path) -> KnownTokens:
    return KnownTokens(tmp_path / "tokens.json")


def seen(engine: Engine, known: KnownTokens, name: str, expires_at: datetime | None = None) -> NewToken:
    """A token that has been used here."""
    with unit_of_work(engine) as session:
        made = create_token(session, name, ["features"], "test", expires_at=expires_at)
        known.remember(made.token.secret_hash, authenticate(session, made.secret))
        return made


def test_what_ended_is_forgotten_and_what_changed_is_learnt(engine: Engine, known: KnownTokens, tmp_path: Path) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    good, revoked, rotated, bounded = (seen(engine, known, name, soon) for name in ("good", "gone", "old", "small"))
    with unit_of_work(engine) as session:
        revoke_token(session, revoked.token.id)
        rotate_token(session, rotated.token.id, "test", timedelta(0))
        set_quota(session, bounded.token.id, Quota(images=1))
    Rechecks(engine, known).look()
    for one in (known, KnownTokens(tmp_path / "tokens.json")):
        assert one.get(revoked.token.secret_hash) is None
        assert one.get(rotated.token.secret_hash) is None
        assert one.get(good.token.secret_hash) is not None
        assert (found := one.get(bounded.token.secret_hash)) is not None
        assert found.images == 1


def test_while_the_tables_are_away_nothing_is_forgotten(engine: Engine, known: KnownTokens, tmp_path: Path) -> None:
    good = seen(engine, known, "good")
    away = open_engine(f"sqlite:///file:{tmp_path / 'none' / 'gone.sqlite3'}?mode=ro&uri=true")
    with pytest.raises(OperationalError):
        Rechecks(away, known).look()
    assert known.get(good.token.secret_hash) is not None


def test_it_looks_at_once_and_again(engine: Engine, known: KnownTokens) -> None:
    rechecks = Rechecks(engine, known, seconds=0.01)
    for n, name in enumerate(("first", "second")):
        token = seen(engine, known, name)
        with unit_of_work(engine) as session:
            revoke_token(session, token.token.id)
        if n == 0:
            rechecks.start()
        give_up = time.monotonic() + 60
        while known.get(token.token.secret_hash) is not None:
            assert time.monotonic() < give_up
            time.sleep(0.005)
    rechecks.close()
    Rechecks(engine, known).close()  # never started
