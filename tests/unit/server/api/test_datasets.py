"""Registering folders, versions of them, and what is refused at once."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from control.collector import collect
from control.db.session import unit_of_work
from control.records.runs.submission import NewRun, create_run
from control.storage.base import key_of
from detco_core.contract import events
from detco_core.contract.presets import smoke
from detco_core.contract.reader import plain


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


def test_usage_and_deletion_of_what_was_derived(admin: httpx.Client, house: Any, tmp_path: Path) -> None:
    folder = house.photos("leaving")
    body = {"name": "leaving", "kind": "images", "uri": str(folder)}
    assert admin.post("/v1/datasets", json=body).status_code == 202
    going = admin.delete("/v1/datasets/leaving")
    assert (going.status_code, "cancel" in going.json()["available_actions"]) == (409, True)
    house.scan(20)
    run = admin.post("/v1/runs", json={"dataset": "leaving", "preset": "smoke", "name": "one"}).json()["id"]
    held = admin.delete("/v1/datasets/leaving")
    assert (held.status_code, held.json()["code"], held.json()["holders"]) == (409, "in_use", [f"run {run}"])
    (tmp_path / "step.pt").write_bytes(b"images of a bad step")
    taken = house.claim("gpu")
    saved = house.keep(tmp_path / "step.pt", "replay/step-00000001.pt")
    house.say(taken, house.checkpoint(20, b"of the leaving"), saved, events.Finished())
    house.close(taken)
    used = admin.get("/v1/datasets/leaving/usage").json()
    assert (used["versions"], used["counts"]["runs"], used["counts"]["models"]) == (["leaving@1"], 1, 0)
    assert [(user["id"], user["name"], user["dataset"]) for user in used["runs"]] == [(run, "one", "leaving@1")]
    only = admin.delete("/v1/datasets/leaving/versions/1")
    assert (only.status_code, "only version" in only.json()["detail"]) == (409, True)
    planned = admin.delete("/v1/datasets/leaving?dry_run=true").json()
    assert planned == {"id": "leaving", "dry_run": True, "derived": [f"run {run}"], "bytes": used["bytes"]}
    assert used["bytes"] > len(b"images of a bad step")
    assert admin.get("/v1/datasets/leaving").status_code == 200
    assert admin.delete("/v1/datasets/leaving").json() == planned | {"dry_run": False}
    assert admin.delete("/v1/datasets/leaving").json() == planned | {"dry_run": False}  # asked again
    assert collect(house.engine, house.store) == planned["bytes"]
    assert not house.store.exists(key_of(saved.sha256))
    assert admin.get(f"/v1/runs/{run}/checkpoints/last/file").content == b"of the leaving"
    for path in ("", "/usage", "/versions", "/versions/1"):
        assert admin.get(f"/v1/datasets/leaving{path}").status_code == 404
    assert "leaving" not in [item["name"] for item in admin.get("/v1/datasets").json()["items"]]
    assert admin.post("/v1/runs", json={"dataset": "leaving@1", "preset": "smoke"}).status_code == 404
    assert len(list(folder.iterdir())) == 20
    again = admin.post("/v1/datasets", json=body | {"license": "MIT"}).json()
    assert (again["ref"], again["license"]) == ("leaving@2", "MIT")
    house.scan(20)
    assert admin.post("/v1/datasets/leaving/versions", json={}).json()["ref"] == "leaving@3"
    house.scan(20)
    gone = admin.delete("/v1/datasets/leaving/versions/2").json()
    assert (gone["id"], gone["derived"]) == ("leaving@2", [])
    assert [item["version"] for item in admin.get("/v1/datasets/leaving/versions").json()["items"]] == [3]


def test_uploaded_bytes_go_with_their_last_data_set(admin: httpx.Client, house: Any) -> None:
    with zipfile.ZipFile(house.root / "sent.zip", "w") as archive:
        archive.writestr("a.png", b"picture")
    data = (house.root / "sent.zip").read_bytes()
    asked = {"kind": "dataset", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    uri = admin.post("/v1/uploads", json=asked).json()["uri"]
    assert admin.put(f"/v1/uploads/{uri.removeprefix('upload:')}", content=data).json()["state"] == "ready"
    for name in ("one", "two"):
        assert add(admin, name, uri).status_code == 202
        house.scan(1)
    shared = admin.delete("/v1/datasets/one").json()["bytes"]
    last = admin.delete("/v1/datasets/two").json()["bytes"]
    assert last - shared == len(data)
    assert admin.get(f"/v1/uploads/{uri.removeprefix('upload:')}").status_code == 404


def test_a_monitor_holds_its_data_set(house: Any, admin: httpx.Client) -> None:
    assert house.client("read").delete("/v1/datasets/photos").status_code == 403
    assert admin.delete("/v1/datasets/nowhere").status_code == 404
    assert admin.get("/v1/datasets/nowhere/usage").status_code == 404
    add(admin, "birds-held", house.photos("held-out"))
    house.scan(20)
    version = admin.get("/v1/datasets/birds-held/versions/1").json()["id"]
    with unit_of_work(house.engine) as session:
        spec = {"config": plain(smoke()), "gpus": 1, "init": None, "monitor": {"dataset_version_id": version}}
        watched = create_run(session, NewRun(kind="pretrain", spec=spec, actor="ada")).id
    assert admin.delete("/v1/datasets/birds-held").json()["holders"] == [f"run {watched}"]
    assert [user["id"] for user in admin.get("/v1/datasets/birds-held/usage").json()["runs"]] == [watched]
    admin.post(f"/v1/runs/{watched}/cancel")
    assert admin.delete("/v1/datasets/birds-held").json()["derived"] == [f"run {watched}"]
