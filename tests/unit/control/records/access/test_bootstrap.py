import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine

from control.db.session import unit_of_work
from control.errors import SettingsError, Unauthorized
from control.records.access.bootstrap import bootstrap_secret, ensure_bootstrap_token
from control.records.access.principals import authenticate
from control.records.access.tokens import list_tokens, make_secret


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
