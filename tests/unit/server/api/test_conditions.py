"""Conditional requests on real things: 304 while nothing changed, 412 once something did."""

from typing import Any

import httpx
import pytest

from detco_core.contract import events


@pytest.fixture
def queued(admin: httpx.Client, photos: str) -> str:
    return str(admin.post("/v1/runs", json={"dataset": photos, "preset": "smoke"}).json()["id"])


@pytest.mark.parametrize("path", ["/v1/datasets/photos", "/v1/datasets", "/v1/datasets/photos/versions/1", "/v1/info"])
def test_a_poll_of_what_did_not_change(admin: httpx.Client, photos: str, path: str) -> None:
    tag = admin.get(path).headers["etag"]
    again = admin.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["x-request-id"]


def test_a_run_is_another_with_each_metric_though_its_row_is_not(house: Any, admin: httpx.Client, queued: str) -> None:
    taken = house.claim("gpu")
    before = admin.get(f"/v1/runs/{queued}").headers["etag"]
    house.say(taken, events.Metrics(step=1, values={"loss": 1.0}))
    after = admin.get(f"/v1/runs/{queued}", headers={"If-None-Match": before})
    assert after.status_code == 200
    assert after.headers["etag"].partition("-")[0] == before.partition("-")[0]
    house.close(taken)


def test_an_act_on_what_was_seen_only(admin: httpx.Client, queued: str) -> None:
    seen = {"If-Match": admin.get(f"/v1/runs/{queued}").headers["etag"]}
    assert admin.post(f"/v1/runs/{queued}/pause", headers=seen).status_code == 200
    stale = admin.post(f"/v1/runs/{queued}/cancel", headers=seen)
    assert (stale.status_code, stale.json()["code"]) == (412, "stale_version")
    assert admin.post(f"/v1/runs/{queued}/cancel").status_code == 200
