from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, select, update

from control.db.models import Token
from control.db.session import database_time, unit_of_work
from control.errors import Forbidden, NotFound, Unauthorized
from control.records.access.principals import authenticate, touch
from control.records.access.tokens import NewToken, create_token, revoke_token


def make(engine: Engine, *scopes: str, **options: object) -> NewToken:
    with unit_of_work(engine) as session:
        return create_token(session, "laptop", scopes or ("read",), "tester", **options)  # type: ignore[arg-type]  # passed through


@pytest.mark.parametrize("change", [lambda s: s[:-1], lambda s: s + "x", lambda s: s[:-1] + "!", lambda s: s.upper()])
def test_a_secret_that_only_looks_alike_is_unknown(engine: Engine, change: object) -> None:
    secret = make(engine).secret
    with unit_of_work(engine) as session, pytest.raises(Unauthorized, match="not known"):
        authenticate(session, change(secret))  # type: ignore[operator]  # one of the lambdas above


@pytest.mark.parametrize("secret", ["", "detco_", "\0", "\udcff" * 20, "detco_" + "x" * 100_000])
def test_nonsense_is_unknown(engine: Engine, secret: str) -> None:
    with unit_of_work(engine) as session, pytest.raises(Unauthorized):
        authenticate(session, secret)


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
