"""The doorman: what it remembers, for how long, and what it does while the database is away."""

import asyncio
import socket
import threading
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from control.db.models import Token
from control.db.session import open_engine, unit_of_work
from control.errors import Unauthorized
from control.records.access.principals import Principal
from control.records.access.tokens import NewToken, create_token, revoke_token
from server.http.callers import auth
from server.http.callers.auth import Doorman
from server.http.callers.known_tokens import KnownTokens
from server.http.problems import Problem
from server.telemetry import Telemetry


@pytest.fixture
def token(engine: Engine) -> NewToken:
    with unit_of_work(engine) as session:
        return create_token(session, "someone", ["read"], "test", models=["m"])


@pytest.fixture
def doorman(engine: Engine, tmp_path: Path) -> Doorman:
    return Doorman(engine, KnownTokens(tmp_path / "known.json"), Telemetry())


def admit(doorman: Doorman, secret: str, *, last_good: bool = False) -> Principal:
    async def ask() -> Principal:
        try:
            return await doorman.admit(f"Bearer {secret}", "10.0.0.1", last_good=last_good)
        finally:
            await asyncio.gather(*doorman._touches)

    return asyncio.run(ask())


def away(tmp_path: Path) -> Engine:
    """A database that cannot be opened."""
    return open_engine(f"sqlite:///file:{tmp_path / 'none' / 'gone.sqlite3'}?mode=ro&uri=true")


def revoke(engine: Engine, token: NewToken) -> None:
    with unit_of_work(engine) as session:
        revoke_token(session, token.token.id)


def test_a_token_becomes_its_principal_and_its_use_is_noted(engine: Engine, doorman: Doorman, token: NewToken) -> None:
    principal = admit(doorman, token.secret)
    assert (principal.name, principal.scopes, principal.models) == ("someone", frozenset({"read"}), frozenset({"m"}))
    with unit_of_work(engine) as session:
        assert session.get_one(Token, token.token.id).last_used_at is not None


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "token"])
def test_no_bearer_token(doorman: Doorman, header: str | None) -> None:
    with pytest.raises(Unauthorized, match="Authorization: Bearer"):
        asyncio.run(doorman.admit(header, "10.0.0.1"))


@pytest.mark.parametrize("seconds", [0.0, 30.0])
def test_a_revoked_token_passes_as_long_as_it_is_remembered(
    engine: Engine, doorman: Doorman, token: NewToken, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(auth, "REMEMBER_SECONDS", seconds)
    admit(doorman, token.secret)
    revoke(engine, token)
    if seconds:
        assert admit(doorman, token.secret).name == "someone"
    else:
        with pytest.raises(Unauthorized, match="revoked"):
            admit(doorman, token.secret)


class Later(datetime):
    """The clock in an hour."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Later":
        return super().now(tz) + timedelta(hours=1)


def test_a_token_that_expires_while_remembered(
    engine: Engine, doorman: Doorman, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unit_of_work(engine) as session:
        soon = datetime.now(UTC) + timedelta(minutes=30)
        made = create_token(session, "short", ["read"], "test", expires_at=soon)
    admit(doorman, made.secret)
    monkeypatch.setattr(auth, "datetime", Later)
    with pytest.raises(Unauthorized, match="expired"):
        admit(doorman, made.secret)


def test_many_unknown_tokens_slow_down_only_the_unknown(doorman: Doorman, token: NewToken) -> None:
    for n in range(auth._MISTAKES):
        with pytest.raises(Unauthorized):
            admit(doorman, f"detco_wrong_{n}")
    with pytest.raises(Problem) as caught:
        admit(doorman, "detco_wrong_again")
    assert caught.value.status == 429
    assert admit(doorman, token.secret).name == "someone"


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        *[("10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("unknown", "unknown")],
        *[("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("fe80::1%eth0", "fe80::/64")],
    ],
)
def test_who_has_a_network_is_counted_once(address: str, counted: str) -> None:
    assert auth.neighbourhood(address) == counted


def test_what_is_remembered_of_strangers_is_bounded(doorman: Doorman, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_MOST", 3)
    for n in range(10):
        doorman._note_mistake(f"10.0.0.{n}")
    assert len(doorman._mistakes) == 3


class TestAway:
    def test_a_known_token_passes_where_the_last_good_is_asked_for(
        self, doorman: Doorman, token: NewToken, tmp_path: Path
    ) -> None:
        admit(doorman, token.secret)
        # As after a restart: nothing but the file is left.
        later = Doorman(away(tmp_path), KnownTokens(tmp_path / "known.json"), Telemetry())
        assert admit(later, token.secret, last_good=True).models == frozenset({"m"})
        with pytest.raises(OperationalError):
            admit(Doorman(away(tmp_path), KnownTokens(tmp_path / "known.json"), Telemetry()), token.secret)

    def test_tables_that_do_not_answer_are_not_waited_for_and_then_left_alone(
        self, doorman: Doorman, token: NewToken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        admit(doorman, token.secret)
        monkeypatch.setattr(auth, "_PATIENCE", 0.05)
        monkeypatch.setattr(auth, "REMEMBER_SECONDS", 0.0)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.settimeout(10)
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            cut_off = open_engine(f"postgresql+psycopg://nobody@{address}/none?connect_timeout=2")
            later = Doorman(cut_off, KnownTokens(tmp_path / "known.json"), Telemetry())
            for _ in range(5):
                assert admit(later, token.secret, last_good=True).name == "someone"
            with silent.accept()[0]:
                pass
            silent.settimeout(0.05)
            with pytest.raises(TimeoutError):  # it was asked once
                silent.accept()
            monkeypatch.setattr(later, "_asks_again_at", 0.0)
            assert admit(later, token.secret, last_good=True).name == "someone"
            later._threads.shutdown()
            cut_off.dispose()

    def test_strangers_are_told_in_time_and_wait_in_no_queue_that_grows(
        self, doorman: Doorman, token: NewToken, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(auth, "_STRANGERS_PATIENCE", 0.05)
        go_on = threading.Event()
        for _ in range(auth._THREADS):
            doorman._threads.submit(go_on.wait)  # as questions to a database that hangs
        try:
            for n in range(20):
                with pytest.raises(Problem) as caught:
                    admit(doorman, f"detco_stranger_{n}")
                assert (caught.value.status, caught.value.code) == (503, "database_unavailable")
        finally:
            go_on.set()
        monkeypatch.setattr(auth, "_STRANGERS_PATIENCE", 60.0)
        assert admit(doorman, token.secret).name == "someone"
        assert doorman._mistakes == {}  # none was called unknown, or asked about when it was too late

    def test_an_unknown_token_does_not(self, token: NewToken, tmp_path: Path) -> None:
        later = Doorman(away(tmp_path), KnownTokens(tmp_path / "known.json"), Telemetry())
        with pytest.raises(OperationalError):
            admit(later, token.secret, last_good=True)

    def test_a_token_seen_revoked_is_forgotten(self, engine: Engine, token: NewToken, tmp_path: Path) -> None:
        known = KnownTokens(tmp_path / "known.json")
        admit(Doorman(engine, known, Telemetry()), token.secret)
        revoke(engine, token)
        with pytest.raises(Unauthorized):
            admit(Doorman(engine, known, Telemetry()), token.secret)
        with pytest.raises(OperationalError):
            admit(Doorman(away(tmp_path), known, Telemetry()), token.secret, last_good=True)
