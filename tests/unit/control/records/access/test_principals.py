import re
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from control.db.models import Token
from control.db.session import database_time, unit_of_work
from control.errors import Conflict, Forbidden, InvalidRequest, NotFound, SettingsError, Unauthorized
from control.records.access.principals import (
    NewToken,
    authenticate,
    bootstrap_secret,
    create_token,
    ensure_bootstrap_token,
    list_tokens,
    make_secret,
    revoke_token,
    rotate_token,
    touch,
)


def make(engine: Engine, *scopes: str, **options: object) -> NewToken:
    with unit_of_work(engine) as session:
        return create_token(session, "laptop", scopes or ("read",), "tester", **options)  # type: ignore[arg-type]  # passed through


def test_a_secret_is_shown_once_and_kept_as_a_hash(engine: Engine) -> None:
    made = make(engine, "read", "submit")
    assert re.fullmatch(r"detco_[A-Za-z0-9_-]{43}", made.secret)
    with unit_of_work(engine) as session:
        (row,) = list_tokens(session).items
        stored = " ".join(str(getattr(row, column.key)) for column in Token.__table__.columns)
        assert made.secret not in stored
        assert row.prefix == made.secret[:14]
        principal = authenticate(session, made.secret)
        assert (principal.name, principal.models) == ("laptop", None)
        assert principal.scopes == {"read", "submit"}


@pytest.mark.parametrize("change", [lambda s: s[:-1], lambda s: s + "x", lambda s: s[:-1] + "!", lambda s: s.upper()])
def test_a_secret_that_only_looks_alike_is_unknown(engine: Engine, change: object) -> None:
    secret = make(engine).secret
    with unit_of_work(engine) as session, pytest.raises(Unauthorized, match="not known"):
        authenticate(session, change(secret))  # type: ignore[operator]  # one of the lambdas above


@pytest.mark.parametrize("secret", ["", "detco_", "\0", "\udcff" * 20, "detco_" + "x" * 100_000])
def test_nonsense_is_unknown(engine: Engine, secret: str) -> None:
    with unit_of_work(engine) as session, pytest.raises(Unauthorized):
        authenticate(session, secret)


def test_tokens_of_one_prefix_are_told_apart(engine: Engine) -> None:
    first, second = make(engine), make(engine)
    with unit_of_work(engine) as session:
        session.execute(update(Token).values(prefix=second.secret[:14]))
        assert authenticate(session, second.secret).token_id == second.token.id
    assert first.token.id != second.token.id


def test_expired_and_revoked_tokens_are_refused(engine: Engine) -> None:
    past, future = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1))
    expired, valid = make(engine, expires_at=past), make(engine, expires_at=future)
    with unit_of_work(engine) as session, pytest.raises(Unauthorized, match="expired at"):
        authenticate(session, expired.secret)
    with unit_of_work(engine) as session:
        assert authenticate(session, valid.secret).expires_at == future
        revoke_token(session, valid.token.id)
        revoke_token(session, valid.token.id)
    with unit_of_work(engine) as session, pytest.raises(Unauthorized, match="revoked"):
        authenticate(session, valid.secret)
    with unit_of_work(engine) as session, pytest.raises(NotFound):
        revoke_token(session, "tok_none")


def test_scopes_and_models_limit(engine: Engine) -> None:
    limited = make(engine, "features", models=["net"])
    with unit_of_work(engine) as session:
        principal = authenticate(session, limited.secret)
    principal.require("features")
    principal.require_model("net")
    with pytest.raises(Forbidden, match="lacks the scope 'submit'; it has features"):
        principal.require("submit")
    with pytest.raises(Forbidden, match="may not use model 'other'; it may use net"):
        principal.require_model("other")
    powerful = make(engine, "admin")
    with unit_of_work(engine) as session:
        admin = authenticate(session, powerful.secret)
    for scope in ("read", "features", "submit", "admin"):
        admin.require(scope)
    admin.require_model("anything")


class TestRotation:
    def test_the_old_one_is_taken_for_a_while_still(self, engine: Engine) -> None:
        old = make(engine, "read", models=["net"])
        with unit_of_work(engine) as session:
            new = rotate_token(session, old.token.id, "bob", timedelta(hours=1))
            assert new.token.replaces == old.token.id
        with unit_of_work(engine) as session:
            was, now = authenticate(session, old.secret), authenticate(session, new.secret)
            left = (was.expires_at or database_time(session)) - database_time(session)
        assert timedelta(minutes=59) < left <= timedelta(hours=1)
        assert (now.name, now.scopes, now.models, now.expires_at) == (was.name, was.scopes, was.models, None)

    def test_without_grace_it_ends_at_once(self, engine: Engine) -> None:
        old = make(engine)
        with unit_of_work(engine) as session:
            rotate_token(session, old.token.id, "bob", timedelta(0))
        with unit_of_work(engine) as session, pytest.raises(Unauthorized, match="expired"):
            authenticate(session, old.secret)
        with unit_of_work(engine) as session, pytest.raises(Conflict, match="has ended"):
            rotate_token(session, old.token.id, "bob", timedelta(0))

    def test_a_life_as_long_as_the_old_one_was_given(self, engine: Engine) -> None:
        old = make(engine, expires_at=datetime.now(UTC) + timedelta(days=10))
        with unit_of_work(engine) as session:
            session.execute(update(Token).values(created_at=database_time(session) - timedelta(days=20)))
            new = rotate_token(session, old.token.id, "bob", timedelta(days=99)).token
            life = (new.expires_at or new.created_at) - database_time(session)
            before = session.get_one(Token, old.token.id)
            assert before.expires_at == old.token.expires_at
        assert timedelta(days=29) < life < timedelta(days=31)

    def test_the_bootstrap_token_is_its_file(self, engine: Engine) -> None:
        with unit_of_work(engine) as session:
            token = ensure_bootstrap_token(session, make_secret())
            with pytest.raises(Conflict, match="its file"):
                rotate_token(session, token.id, "bob", timedelta(0))


def test_who_is_limited_to_models_makes_nothing_wider(engine: Engine) -> None:
    limited, wide = make(engine, "admin", models=["net"]), make(engine, "admin")
    with unit_of_work(engine) as session:
        one, all_of_them = authenticate(session, limited.secret), authenticate(session, wide.secret)
    one.require_models(["net"])
    all_of_them.require_models(None)
    with pytest.raises(Forbidden, match="limited to models"):
        one.require_models(None)
    with pytest.raises(Forbidden, match="other"):
        one.require_models(["net", "other"])


@pytest.mark.parametrize("scopes", [[], ["write"], ["read", "root"]])
def test_unknown_scopes_are_refused(engine: Engine, scopes: list[str]) -> None:
    with unit_of_work(engine) as session, pytest.raises(InvalidRequest, match="scopes: give one or more of"):
        create_token(session, "laptop", scopes, "tester")


def test_use_is_noted_once_a_minute(engine: Engine) -> None:
    made = make(engine)

    def used() -> datetime | None:
        with unit_of_work(engine) as session:
            touch(session, made.token.id)
            return session.scalar(select(Token.last_used_at))

    first = used()
    assert first is not None
    assert used() == first
    with unit_of_work(engine) as session:
        session.execute(update(Token).values(last_used_at=database_time(session) - timedelta(minutes=2)))
    again = used()
    assert again is not None
    assert again >= first


def test_the_bootstrap_token_follows_its_file(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "new" / "token"
    secret = bootstrap_secret(path, make=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert bootstrap_secret(path, make=True) == secret == path.read_text().strip()
    assert [entry.name for entry in path.parent.iterdir()] == ["token"]
    for _ in range(2):
        with unit_of_work(engine) as session:
            ensure_bootstrap_token(session, secret)
    with unit_of_work(engine) as session:
        assert len(list_tokens(session).items) == 1
        assert authenticate(session, secret).scopes == {"admin"}
    changed = make_secret()
    with unit_of_work(engine) as session:
        ensure_bootstrap_token(session, changed)
    with unit_of_work(engine) as session:
        assert authenticate(session, changed).scopes == {"admin"}
        with pytest.raises(Unauthorized, match="revoked"):
            authenticate(session, secret)


def test_two_who_start_at_once_agree_on_the_file(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: bootstrap_secret(tmp_path / "token", make=True), range(8)))
    assert len(secrets) == 1


def test_a_bootstrap_file_that_is_missing_or_weak_stops_the_start(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="DETCO_BOOTSTRAP_TOKEN_FILE"):
        bootstrap_secret(tmp_path / "token", make=False)
    with unit_of_work(engine) as session, pytest.raises(SettingsError, match="has 5 characters"):
        ensure_bootstrap_token(session, "admin")
