import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, update

from control.db.models import Token
from control.db.session import database_time, unit_of_work
from control.errors import Conflict, InvalidRequest, Unauthorized
from control.records.access.bootstrap import ensure_bootstrap_token
from control.records.access.principals import authenticate
from control.records.access.tokens import NewToken, create_token, list_tokens, make_secret, rotate_token


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


def test_tokens_of_one_prefix_are_told_apart(engine: Engine) -> None:
    first, second = make(engine), make(engine)
    with unit_of_work(engine) as session:
        session.execute(update(Token).values(prefix=second.secret[:14]))
        assert authenticate(session, second.secret).token_id == second.token.id
    assert first.token.id != second.token.id


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


@pytest.mark.parametrize("scopes", [[], ["write"], ["read", "root"]])
def test_unknown_scopes_are_refused(engine: Engine, scopes: list[str]) -> None:
    with unit_of_work(engine) as session, pytest.raises(InvalidRequest, match="scopes: give one or more of"):
        create_token(session, "laptop", scopes, "tester")
