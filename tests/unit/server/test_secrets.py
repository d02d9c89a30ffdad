"""No secret is left anywhere: everything a service and its runs leave is searched for the secrets they were given."""

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from control import log
from control.db.migrate import upgrade
from control.db.session import open_engine, unit_of_work
from control.records.access.bootstrap import bootstrap_secret, ensure_bootstrap_token
from control.settings import load_settings
from control.signing import KEY_FILE
from server.app import make_app

OWN = ("token", KEY_FILE)
"""Files whose purpose is to hold a secret, 0600."""


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Every line that would be logged, at the most talkative level."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    log.configure("DEBUG")
    keep = Keep()
    keep.setFormatter(root.handlers[0].formatter)
    root.handlers[:] = [keep]
    root.setLevel(logging.DEBUG)
    yield lines
    root.handlers[:] = before
    root.setLevel(level)
    for name in ("control", "server", "worker"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def use(client: httpx.Client, photos: Path) -> list[str]:
    """Do what has to do with secrets, well and badly; the secrets that were shown."""
    tokens = client.post("/v1/tokens", json={"name": "ci", "scopes": ["admin"]}).json()
    rotated = client.post(f"/v1/tokens/{tokens['id']}/rotate", json={}).json()
    hook = client.post("/v1/webhooks", json={"url": "https://example.org/", "events": ["*"]}).json()
    again = client.post(f"/v1/webhooks/{hook['id']}/rotate").json()
    secrets = [tokens["token"], rotated["token"], hook["secret"], again["secret"]]
    for secret in secrets:
        headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "key-of-" + secret[-8:]}
        client.get("/v1/runs", headers=headers)
        client.post("/v1/datasets", json={"name": secret[-9:].strip("-_=/+") + "x"}, headers=headers)
    body = {"name": "photos", "kind": "images", "uri": str(photos)}
    assert client.post("/v1/datasets", json=body, headers={"Idempotency-Key": "once"}).status_code == 202
    client.post("/v1/runs", json={"dataset": "photos", "preset": "smoke"}, headers={"Idempotency-Key": "two"})
    client.post(f"/v1/webhooks/{hook['id']}/test")
    client.delete(f"/v1/tokens/{tokens['id']}")
    return secrets


def rows(database: Path) -> str:
    with sqlite3.connect(database) as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    return dump


def test_secrets_are_in_no_row_file_or_log(
    tmp_path: Path, said: list[str], serve: Callable[[FastAPI], httpx.Client]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"not really")
    settings = load_settings(data_dir=tmp_path / "data", dataset_roots=(str(tmp_path),), log_level="DEBUG")
    bootstrap = bootstrap_secret(settings.token_file, make=True)
    engine = open_engine(settings.resolved_database_url)
    upgrade(engine)
    with unit_of_work(engine) as session:
        ensure_bootstrap_token(session, bootstrap)
    engine.dispose()
    client = serve(make_app(settings))
    client.headers["Authorization"] = f"Bearer {bootstrap}"
    secrets = [bootstrap, *use(client, photos)]
    key = (settings.data_dir / KEY_FILE).read_text()
    logging.getLogger("server").error("what a careless line would say: %s", secrets)
    left = {"log": "\n".join(said), "rows": rows(settings.data_dir / "detco.sqlite3")}
    for path in settings.data_dir.rglob("*"):
        if path.is_file() and path.name not in OWN:
            left[path.name] = path.read_bytes().decode("latin-1")
    assert len(left["log"]) > 1000
    assert "photos" in left["rows"]
    for secret in (*secrets, key):
        found = [name for name, text in left.items() if secret in text or json.dumps(secret)[1:-1] in text]
        assert found == [], f"{secret[:10]}... is in {found}"
    for name in OWN:
        assert (settings.data_dir / name).stat().st_mode & 0o077 == 0
