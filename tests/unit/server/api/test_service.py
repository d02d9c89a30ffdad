"""Info, workers, health, metrics, the page of the interface, and what surrounds every answer."""

import threading
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update

from control.db.models import Worker
from control.db.session import database_time, unit_of_work
from control.settings import load_settings
from detco_core import __version__
from detco_core.contract.manifest import EXPORT_FORMATS
from detco_core.contract.presets import PRESETS
from server.app import make_app


def test_info_says_what_is_taken(house: Any) -> None:
    info = house.client("features").get("/v1/info").json()
    assert info["version"] == __version__
    assert info["presets"] == list(PRESETS)
    assert info["tasks"] == ["knn"]
    assert info["formats"] == list(EXPORT_FORMATS)
    assert info["limits"]["images"] == house.settings.max_images
    assert (info["default_model"], info["embedded"]) == (None, True)


class TestHealth:
    def test_alive(self, house: Any) -> None:
        assert house.bare().get("/livez").json() == {"status": "alive"}

    def test_ready_follows_the_workers(self, house: Any) -> None:
        client = house.bare()
        # Another test of the module may have had one already.
        with unit_of_work(house.engine) as session:
            session.execute(update(Worker).values(state="gone", looked_at=None))
        before = client.get("/readyz")
        assert (before.status_code, before.json()["checks"]["workers"]["ok"]) == (503, False)
        assert client.get("/readyz/api").status_code == 200
        assert client.get("/readyz/features").status_code == 200
        worker = house.worker()
        with unit_of_work(house.engine) as session:
            session.execute(update(Worker).where(Worker.id == worker.id).values(state="active"))
        after = client.get("/readyz")
        assert (after.status_code, after.json()["ready"]) == (200, True)
        assert set(after.json()["checks"]) == {"database", "migrations", "artifacts", "workers", "models"}
        with unit_of_work(house.engine) as session:
            long_ago = database_time(session) - timedelta(minutes=10)
            session.execute(update(Worker).where(Worker.id == worker.id).values(looked_at=long_ago))
        idle = client.get("/readyz")
        assert (idle.status_code, "none has looked for work" in idle.json()["checks"]["workers"]["detail"]) == (
            503,
            True,
        )
        with unit_of_work(house.engine) as session:
            session.execute(update(Worker).where(Worker.id == worker.id).values(state="gone", looked_at=None))
        assert client.get("/readyz").status_code == 503
        with unit_of_work(house.engine) as session:
            session.execute(update(Worker).where(Worker.id == worker.id).values(state="active"))

    def test_a_database_without_tables_is_not_ready(self, tmp_path: Any, serve: Any) -> None:
        client = serve(make_app(load_settings(data_dir=tmp_path / "data"), ["api"]))
        answer = client.get("/readyz/api")
        assert answer.status_code == 503
        assert "migrate" in answer.json()["checks"]["migrations"]["detail"]
        refused = client.get("/v1/runs", headers={"Authorization": "Bearer x"})
        assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
        assert client.get("/livez").status_code == 200


def test_who_watches_does_not_wait_for_a_database_that_hangs(house: Any, serve: Any) -> None:
    app = make_app(house.settings, ["api"])
    client = serve(app)
    assert "detco_jobs" in client.get("/metrics").text
    patience, go_on = app.state.services.patience, threading.Event()
    patience._seconds = 0.05
    patience._thread.submit(go_on.wait)  # as a question that was asked before
    try:
        for path in ("/readyz", "/readyz/api"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["checks"]["database"]["ok"]) == (503, False)
        text = client.get("/metrics").text
        assert "detco_http_streams 0.0" in text
        assert "detco_jobs" not in text
    finally:
        go_on.set()


def test_metrics_count_by_template(house: Any, admin: httpx.Client) -> None:
    for n in range(3):
        admin.get(f"/v1/datasets/none-{n}")
    text = admin.get("/metrics").text
    count = 'detco_http_request_seconds_count{method="GET",route="/v1/datasets/{name}",status="404"} 3.0'
    assert count in text
    assert "none-1" not in text
    assert "detco_feature_images 0.0" in text


def test_jobs_and_slots_are_in_the_metrics(house: Any, admin: httpx.Client, photos: str) -> None:
    run = admin.post("/v1/runs", json={"dataset": photos, "preset": "smoke"}).json()["id"]
    text = admin.get("/metrics").text
    assert 'detco_jobs{kind="pretrain",state="queued"} 1.0' in text
    assert 'detco_jobs{kind="check",state="completed"} 1.0' in text
    assert 'detco_slots{purpose="train",use="free"} 9.0' in text
    admin.post(f"/v1/runs/{run}/kill")


def test_the_audit_pages(admin: httpx.Client) -> None:
    for n in range(3):
        admin.post("/v1/tokens", json={"name": f"t{n}", "scopes": ["read"]})
    first = admin.get("/v1/audit", params={"page_size": 2}).json()
    rest = admin.get("/v1/audit", params={"page_size": 2, "page_token": first["next_page_token"]}).json()
    assert [entry["details"]["name"] for entry in first["items"] + rest["items"][:1]] == ["t2", "t1", "t0"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("DELETE", "/v1/info", 405), ("POST", "/", 404), ("GET", "/v1/runs/", 404)],
)
def test_what_there_is_not(admin: httpx.Client, method: str, path: str, status: int) -> None:
    answer = admin.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert path in answer.json()["detail"]


def test_large_bodies_are_refused_by_route(house: Any, admin: httpx.Client) -> None:
    body = b"x" * (2**20 + 1)
    assert admin.post("/v1/runs", content=body, headers={"Content-Type": "application/json"}).status_code == 413
    # An image of this size is fine: what is refused is that it is none.
    answer = admin.post("/features", content=body, headers={"Content-Type": "image/jpeg"})
    assert answer.status_code != 413


@pytest.mark.parametrize(
    ("parts", "present", "absent"), [(["api"], "/v1/runs", "/features"), (["features"], "/features", "/v1/runs")]
)
def test_parts(tmp_path: Any, parts: Any, present: str, absent: str) -> None:
    app: FastAPI = make_app(load_settings(data_dir=tmp_path), parts)
    paths = app.openapi()["paths"]
    assert present in paths
    assert absent not in paths
    assert "/readyz" in paths
    assert (app.state.services.features is None) == (parts == ["api"])


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/metrics", "/v1/info", "/v1/runs", "/v1/runs/run_none", "/openapi.json"]
)
def test_head_answers_where_get_does(admin: httpx.Client, path: str) -> None:
    got, asked = admin.get(path), admin.head(path)
    assert (asked.status_code, asked.content) == (got.status_code, b"")
    assert asked.headers["content-type"] == got.headers["content-type"]
    assert ("etag" in asked.headers) == ("etag" in got.headers)
