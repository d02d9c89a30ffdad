"""Tables and the first token, before the first request."""

import stat
from pathlib import Path

import pytest
from sqlalchemy import Engine

from control.db.migrate import at_head
from control.db.session import open_engine, read_only
from control.errors import SettingsError, Unauthorized
from control.records.access.principals import authenticate
from control.settings import Settings, load_settings
from server.first_steps import prepare


def tables(settings: Settings) -> Engine:
    return open_engine(settings.resolved_database_url)


def test_tables_and_an_admin_token(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    for _ in range(2):
        prepare(settings, migrate=True)
    engine = tables(settings)
    assert at_head(engine)
    secret = (tmp_path / "token").read_text().strip()
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    with read_only(engine) as session:
        assert authenticate(session, secret).scopes == {"admin"}
    engine.dispose()


def test_a_new_bootstrap_token_replaces_the_old(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    prepare(settings, migrate=True)
    old = (tmp_path / "token").read_text().strip()
    (tmp_path / "token").write_text("n" * 40)
    prepare(settings, migrate=True)
    engine = tables(settings)
    with read_only(engine) as session:
        assert authenticate(session, "n" * 40).name == "bootstrap"
        with pytest.raises(Unauthorized):
            authenticate(session, old)
    engine.dispose()


def test_nothing_is_made_where_nothing_is_asked_for(tmp_path: Path) -> None:
    prepare(load_settings(data_dir=tmp_path), migrate=False)
    assert not (tmp_path / "token").exists()


def test_a_database_that_is_away_stops_only_who_must_migrate(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s" * 40)
    settings = load_settings(
        data_dir=tmp_path,
        database_url="postgresql://nobody@127.0.0.1:9/none",
        dataset_roots=("/data",),
        bootstrap_token_file=secret,
    )
    prepare(settings, migrate=False)
    with pytest.raises(SettingsError, match="tables"):
        prepare(settings, migrate=True)
