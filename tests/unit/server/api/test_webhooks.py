"""Webhooks over REST; what is sent is tests/unit/worker/upkeep/test_courier.py's."""

from typing import Any

import httpx
import pytest

URL = "https://example.org/detco?key=in-the-url"


@pytest.fixture
def made(admin: httpx.Client) -> Any:
    answer = admin.post("/v1/webhooks", json={"url": URL, "events": ["dataset.*", "run.failed"]})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["location"] == f"/v1/webhooks/{answer.json()['id']}"
    return answer.json()


def test_made_shown_listed_changed_deleted(admin: httpx.Client, made: Any) -> None:
    path = f"/v1/webhooks/{made['id']}"
    shown = admin.get(path).json()
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert made["id"] in [one["id"] for one in admin.get("/v1/webhooks").json()["items"]]
    changed = admin.patch(path, json={"enabled": False, "events": ["*"]}).json()
    assert (changed["enabled"], changed["events"], changed["url"]) == (False, ["*"], URL)
    assert admin.delete(path).status_code == 204
    for gone in (admin.get(path), admin.delete(path), admin.get(f"{path}/deliveries"), admin.post(f"{path}/test")):
        assert gone.status_code == 404


def test_the_secret_is_shown_once(house: Any, admin: httpx.Client, made: Any) -> None:
    rotated = admin.post(f"/v1/webhooks/{made['id']}/rotate").json()
    assert rotated["secret"].startswith("whsec_")
    assert rotated["secret"] != made["secret"]
    said = "".join(admin.get(path).text for path in ("/v1/webhooks", f"/v1/webhooks/{made['id']}", "/v1/audit"))
    assert made["secret"] not in said
    assert rotated["secret"] not in said


def test_a_test_message_is_owed_logged_and_sent_again(admin: httpx.Client, made: Any) -> None:
    path = f"/v1/webhooks/{made['id']}"
    answer = admin.post(f"{path}/test")
    assert answer.status_code == 202
    delivery = answer.json()
    assert admin.get(answer.headers["location"]).json() == delivery
    assert (delivery["type"], delivery["state"], delivery["attempts"]) == ("webhook.test", "pending", [])
    assert delivery["payload"]["id"] == delivery["event"]
    again = admin.post(f"{path}/deliveries/{delivery['id']}/redeliver")
    assert (again.status_code, again.json()["event"]) == (202, delivery["event"])
    assert [one["id"] for one in admin.get(f"{path}/deliveries?state=pending").json()["items"]] == [delivery["id"]]
    assert admin.get(f"{path}/deliveries?state=failed").json()["items"] == []
    assert admin.get(f"{path}/deliveries/dlv_none").status_code == 404
    assert admin.post(f"{path}/deliveries/dlv_none/redeliver").status_code == 404


def test_what_happens_is_owed(house: Any, admin: httpx.Client, made: Any) -> None:
    body = {"name": "told", "kind": "images", "uri": str(house.photos("told"))}
    assert admin.post("/v1/datasets", json=body).status_code == 202
    house.scan(20)
    (delivery,) = admin.get(f"/v1/webhooks/{made['id']}/deliveries").json()["items"]
    assert (delivery["type"], delivery["payload"]["link"]) == ("dataset.ready", "/v1/datasets/told/versions/1")
    assert admin.get(delivery["payload"]["link"]).json()["state"] == "ready"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"url": "http://127.0.0.1/", "events": ["*"]}, "url"),
        ({"url": "http://[::ffff:169.254.169.254]/", "events": ["*"]}, "url"),
        ({"url": "ftp://example.org", "events": ["*"]}, "url"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "events": ["run.exploded"]}, "events.0"),
        ({"url": URL, "events": ["*"], "secret": "mine"}, "secret"),
    ],
)
def test_bad_ones_are_refused(admin: httpx.Client, made: Any, body: Any, path: str) -> None:
    for answer in (
        admin.post("/v1/webhooks", json=body),
        admin.patch(f"/v1/webhooks/{made['id']}", json=body),
    ):
        assert answer.status_code == 422
        assert [wrong["path"] for wrong in answer.json()["errors"]] == [path]


def test_every_act_is_in_the_audit_without_the_address(admin: httpx.Client, made: Any) -> None:
    path = f"/v1/webhooks/{made['id']}"
    admin.post(f"{path}/rotate")
    delivery = admin.post(f"{path}/test").json()["id"]
    admin.post(f"{path}/deliveries/{delivery}/redeliver")
    admin.patch(path, json={"enabled": True})
    admin.delete(path)
    answer = admin.get("/v1/audit", params={"target": made["id"]})
    assert "in-the-url" not in answer.text
    acts = [entry["action"].removeprefix("webhook.") for entry in answer.json()["items"]]
    assert acts == ["delete", "change", "redeliver", "test", "rotate", "create"]
