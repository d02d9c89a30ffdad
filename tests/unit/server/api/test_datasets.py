"""Registering folders, versions of them, and what is refused at once."""

from typing import Any

import httpx
import pytest


def add(client: httpx.Client, name: str, uri: Any, kind: str = "images", **more: Any) -> httpx.Response:
    return client.post("/v1/datasets", json={"name": name, "kind": kind, "uri": str(uri), **more})


def test_a_folder_becomes_a_version(admin: httpx.Client, house: Any) -> None:
    answer = add(admin, "birds", house.photos("birds", 7), license="CC0", exclude=["*.tmp"])
    assert answer.status_code == 202
    assert answer.headers["location"] == "/v1/datasets/birds"
    made = answer.json()
    assert (made["name"], made["version"], made["state"], made["images"]) == ("birds", 1, "scanning", None)
    assert (made["license"], made["exclude"], made["created_by"]) == ("CC0", ["*.tmp"], "admin")
    house.scan(7)
    shown = admin.get("/v1/datasets/birds").json()
    assert (shown["state"], shown["images"], shown["ref"]) == ("ready", 7, "birds@1")
    assert shown["digest"].startswith("sha256:")
    assert shown["broken"] == [{"path": "bad.jpg", "reason": "truncated"}]
    measured = {"images": 7, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2], "bit_depth": 8}
    assert shown["statistics"] == {"3": measured}
    version = admin.get("/v1/datasets/birds/versions/1").json()
    assert {key: shown[key] for key in version if key not in ("id", "created_at")} == {
        key: value for key, value in version.items() if key not in ("id", "created_at")
    }
    job = admin.get(f"/v1/runs/{version['job']}").json()
    assert (job["kind"], job["state"]) == ("check", "completed")
    assert admin.get(f"/v1/runs/{version['job']}/events").json()["items"]


def test_a_new_version_leaves_the_old_one(admin: httpx.Client, house: Any) -> None:
    add(admin, "cats", house.photos("cats", 5))
    house.scan(5)
    answer = admin.post("/v1/datasets/cats/versions", json={"exclude": ["000.png"]})
    assert answer.status_code == 202
    assert answer.headers["location"] == "/v1/datasets/cats/versions/2"
    assert (answer.json()["version"], answer.json()["state"]) == (2, "scanning")
    assert admin.get("/v1/datasets/cats").json()["version"] == 2
    house.scan(4)
    listed = admin.get("/v1/datasets/cats/versions").json()["items"]
    assert [(item["version"], item["images"], item["exclude"]) for item in listed] == [(2, 4, ["000.png"]), (1, 5, [])]


@pytest.mark.parametrize("name", ["named.txt", "packed.tar"])
def test_a_file_may_be_a_data_set(admin: httpx.Client, house: Any, name: str) -> None:
    (house.root / name).write_text("a.jpg\n")
    answer = add(admin, name, house.root / name)
    assert answer.status_code == 202, answer.text
    assert answer.json()["root"] == str(house.root / name)
    house.scan(3)
    assert admin.get(f"/v1/datasets/{name}").json()["state"] == "ready"


def test_runs_may_be_posted_at_once(admin: httpx.Client, house: Any) -> None:
    add(admin, "dogs", house.photos("dogs"))
    run = admin.post("/v1/runs", json={"dataset": "dogs", "preset": "smoke"}).json()
    assert (run["dataset"], run["waiting_reason"]) == ("dogs@1", "dataset_scanning")
    plan = admin.post("/v1/runs?dry_run=true", json={"dataset": "dogs", "preset": "smoke"}).json()
    assert "dataset_scanning" in [warning["code"] for warning in plan["warnings"]]
    assert admin.post(f"/v1/runs/{run['id']}/cancel").json()["state"] == "cancelled"
    house.scan(20)


@pytest.mark.parametrize(
    ("name", "uri", "kind", "status", "code"),
    [
        ("etc", "/etc", "images", 422, "forbidden_root"),
        ("etc", "file:///etc", "images", 422, "forbidden_root"),
        ("etc", "{root}/../../../../../../../etc", "images", 422, "forbidden_root"),
        ("way", "{root}/way_out", "images", 422, "forbidden_root"),
        ("gone", "{root}/not_there", "images", 422, "invalid_request"),
        ("rel", "photos", "images", 422, "invalid_request"),
        ("web", "https://example.org/x", "images", 422, "invalid_request"),
        ("nul", "/a\0b", "images", 422, "invalid_request"),
        ("empty", "{root}/empty", "images", 422, "invalid_request"),
        ("kinds", "{root}/some", "labelled", 422, "invalid_request"),
        ("kinds", "{root}/some", "pictures", 422, "invalid_request"),
        ("a/b", "{root}/some", "images", 422, "invalid_request"),
        ("", "{root}/some", "images", 422, "invalid_request"),
        ("x" * 101, "{root}/some", "images", 422, "invalid_request"),
    ],
)
def test_what_is_refused_at_once(
    admin: httpx.Client, house: Any, name: str, uri: str, kind: str, status: int, code: str
) -> None:
    house.photos("some", 1)
    (house.root / "empty").mkdir(exist_ok=True)
    if not (house.root / "way_out").is_symlink():
        (house.root / "way_out").symlink_to("/etc")
    answer = add(admin, name, uri.replace("{root}", str(house.root)), kind)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["detail"]


def test_a_name_is_taken_once(admin: httpx.Client, house: Any) -> None:
    folder = house.photos("once", 1)
    assert add(admin, "once", folder).status_code == 202
    again = add(admin, "once", folder)
    assert (again.status_code, again.json()["code"]) == (409, "already_exists")


def test_unknown_keys_and_names(admin: httpx.Client, house: Any) -> None:
    answer = add(admin, "odd", house.photos("odd", 1), colour="red")
    assert [error["path"] for error in answer.json()["errors"]] == ["colour"]
    for path in ("/v1/datasets/none", "/v1/datasets/none/versions", "/v1/datasets/none/versions/1"):
        assert admin.get(path).status_code == 404
    for number in ("0", "-1", "x", "99999999999999999999"):
        assert admin.get(f"/v1/datasets/none/versions/{number}").status_code == 422
    assert admin.post("/v1/datasets/none/versions", json={}).status_code == 404


def test_the_list_has_them_all(admin: httpx.Client, house: Any) -> None:
    for name in ("list-a", "list-b", "list-c"):
        add(admin, name, house.photos(name, 1))
    names = [item["name"] for item in admin.get("/v1/datasets", params={"page_size": 2}).json()["items"]]
    assert names == ["list-c", "list-b"]


def test_a_data_set_whose_scan_failed(admin: httpx.Client, house: Any) -> None:
    add(admin, "doomed", house.photos("doomed", 1))
    while admin.get("/v1/datasets/doomed").json()["state"] == "scanning":
        house.close(house.claim("cpu"), "failed", error_kind="user", message="nothing can be read")
    shown = admin.get("/v1/datasets/doomed").json()
    assert (shown["state"], shown["reason"]) == ("failed", "nothing can be read")
    answer = admin.post("/v1/runs", json={"dataset": "doomed", "preset": "smoke"})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")
    assert "nothing can be read" in answer.json()["detail"]
