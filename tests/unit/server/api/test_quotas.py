"""Quotas of tokens over HTTP."""

from typing import Any

import httpx


def test_a_quota_is_set_with_the_token_shown_changed_and_kept_by_a_rotation(
    admin: httpx.Client, house: Any, photos: str
) -> None:
    body = {"name": "ada", "scopes": ["submit", "read"], "quota": {"running": 1, "queued": 2, "images": 5}}
    made = admin.post("/v1/tokens", json=body).json()
    own = {"running": 1, "slots": None, "queued": 2, "images": 5, "pixels_per_second": None}
    assert made["quota"] == own
    ada = house.bare(made["token"])
    smoke = {"dataset": photos, "preset": "smoke", "labels": {"of": "ada"}}
    runs = [ada.post("/v1/runs", json=smoke) for _ in range(3)]
    assert [answer.status_code for answer in runs] == [202, 202, 409]
    assert runs[2].json()["code"] == "quota_exceeded"
    taken = house.claim("gpu")
    second = runs[1].json()["id"]
    shown = ada.get(f"/v1/runs/{second}").json()
    assert (shown["waiting_reason"], "'ada'" in shown["waiting_detail"]) == ("quota", True)
    path = f"/v1/tokens/{made['id']}/quota"
    assert admin.get(path).json()["used"] == {"running": 1, "slots": 1, "queued": 1}
    changed = admin.put(path, json={"running": 2, "pixels_per_second": 2**40})
    assert changed.json()["quota"] == own | {"running": 2, "queued": None, "images": None, "pixels_per_second": 2**40}
    assert ada.get(f"/v1/runs/{second}").json()["waiting_reason"] == "wake_up"
    new = admin.post(f"/v1/tokens/{made['id']}/rotate", json={}).json()
    assert new["quota"] == changed.json()["quota"]
    assert admin.get(f"/v1/tokens/{new['id']}/quota").json()["used"] == {"running": 1, "slots": 1, "queued": 1}
    house.close(taken)
    admin.post("/v1/runs/actions", json={"action": "kill", "label": "of=ada"})


def test_only_an_administrator_sets_sane_ones(admin: httpx.Client, house: Any) -> None:
    token = admin.post("/v1/tokens", json={"name": "x", "scopes": ["read"]}).json()["id"]
    path = f"/v1/tokens/{token}/quota"
    for bad in ({"running": -1}, {"runs": 1}, {"slots": 1.5}, {"images": 0}, {"pixels_per_second": 0}):
        assert admin.put(path, json=bad).status_code == 422
    assert house.client("submit").put(path, json={}).status_code == 403
    assert admin.put("/v1/tokens/tok_none/quota", json={}).status_code == 404
    assert admin.get("/v1/tokens/tok_none/quota").status_code == 404
