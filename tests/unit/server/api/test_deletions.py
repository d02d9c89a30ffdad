"""DELETE on runs, evaluations, models, their versions and aliases."""

from typing import Any

import httpx
import pytest

from detco_core.contract import events


@pytest.fixture
def trained(house: Any, admin: httpx.Client, photos: str) -> str:
    """The id of a completed run with a checkpoint of its own."""
    posted = admin.post("/v1/runs", json={"dataset": photos, "preset": "smoke"}).json()
    taken = house.claim("gpu")
    house.say(taken, house.checkpoint(20, f"weights of {posted['id']}".encode()), events.Finished())
    house.close(taken)
    return str(posted["id"])


def export(house: Any, admin: httpx.Client, name: str, run: str, seed: int = 0) -> int:
    number = admin.post(f"/v1/models/{name}/versions", json={"run": run}).json()["version"]
    house.export(seed)
    return int(number)


def test_a_run_is_deleted_once_it_has_ended(house: Any, admin: httpx.Client, photos: str) -> None:
    run = admin.post("/v1/runs", json={"dataset": photos, "preset": "smoke"}).json()["id"]
    refused = admin.delete(f"/v1/runs/{run}")
    assert (refused.status_code, refused.json()["code"]) == (409, "illegal_move")
    assert "cancel" in refused.json()["available_actions"]
    assert "pause" not in refused.json()["available_actions"], "named is what ends it"
    admin.post(f"/v1/runs/{run}/cancel")
    planned = admin.delete(f"/v1/runs/{run}?dry_run=true").json()
    assert planned == {"id": run, "dry_run": True, "derived": [], "bytes": 0}
    assert admin.get(f"/v1/runs/{run}").status_code == 200
    for _ in range(2):
        assert admin.delete(f"/v1/runs/{run}").json() == planned | {"dry_run": False}
    assert admin.get(f"/v1/runs/{run}").status_code == 404
    assert admin.get(f"/v1/runs/{run}/events").status_code == 404
    assert run not in {one["id"] for one in admin.get("/v1/runs").json()["items"]}
    assert len(admin.get("/v1/audit", params={"target": run}).json()["items"]) >= 2
    assert admin.delete("/v1/runs/run_never").status_code == 404
    assert house.client("read").delete(f"/v1/runs/{run}").status_code == 403


def test_a_run_is_held_and_names_what_came_from_it(house: Any, admin: httpx.Client, trained: str) -> None:
    admin.put(f"/v1/runs/{trained}/checkpoints/last/pin")
    fork = admin.post(f"/v1/runs/{trained}/fork", json={}).json()["id"]
    refused = admin.delete(f"/v1/runs/{trained}").json()
    assert refused["code"] == "in_use"
    assert len(refused["holders"]) == 2
    assert f"run {fork}" in refused["holders"]
    admin.post(f"/v1/runs/{fork}/cancel")
    admin.delete(f"/v1/runs/{trained}/checkpoints/last/pin")
    export(house, admin, "kept", trained)
    gone = admin.delete(f"/v1/runs/{trained}").json()
    assert gone["derived"] == [f"run {fork}", "model version kept:1"]
    assert gone["bytes"] == len(f"weights of {trained}")
    assert house.clean() == gone["bytes"]
    shown = admin.get(f"/v1/runs/{fork}").json()
    assert shown["forked_from"]["run"] == trained
    assert admin.get("/v1/models/kept/versions/1").json()["source"]["run"] == trained
    assert admin.get("/v1/models/kept/versions/1/files/onnx").status_code == 200


def test_an_evaluation(house: Any, admin: httpx.Client, trained: str) -> None:
    for split in ("train", "val"):
        house.photos(f"held-out/{split}/a")
    labelled = {"name": "held-out", "kind": "labelled", "uri": str(house.root / "held-out")}
    assert admin.post("/v1/datasets", json=labelled).status_code == 202
    house.scan(2)
    asked = {"task": "knn", "source": {"run": trained}, "dataset": "held-out"}
    evaluation = admin.post("/v1/evaluations", json=asked).json()["id"]
    assert admin.delete(f"/v1/runs/{trained}").json()["holders"] == [f"evaluation {evaluation}"]
    assert admin.delete(f"/v1/evaluations/{evaluation}").json()["code"] == "illegal_move"
    admin.post(f"/v1/evaluations/{evaluation}/cancel")
    assert admin.delete(f"/v1/runs/{trained}?dry_run=true").json()["derived"] == [f"evaluation {evaluation}"]
    assert admin.delete(f"/v1/evaluations/{trained}").status_code == 404
    for _ in range(2):
        assert admin.delete(f"/v1/evaluations/{evaluation}").status_code == 200
    assert admin.get(f"/v1/evaluations/{evaluation}").status_code == 404
    assert admin.delete(f"/v1/runs/{trained}?dry_run=true").json()["derived"] == []


def test_a_version_is_held_by_aliases_and_pins(house: Any, admin: httpx.Client, trained: str) -> None:
    number = export(house, admin, "net", trained, seed=1)
    assert admin.put("/v1/models/net/aliases/staging", json={"version": number}).status_code == 200
    admin.put(f"/v1/models/net/versions/{number}/pins/line-3")
    for path in (f"/v1/models/net/versions/{number}", "/v1/models/net"):
        refused = admin.delete(path).json()
        assert refused["holders"] == ["alias net@staging", f"the pin of net:{number} for line-3"]
    admin.delete(f"/v1/models/net/versions/{number}/pins/line-3")
    assert admin.delete("/v1/models/net/aliases/staging", headers={"If-Match": '"7"'}).status_code == 412
    assert admin.delete("/v1/models/net/aliases/staging").status_code == 204
    moves = admin.get("/v1/models/net/aliases/staging/history").json()["items"]
    assert [(move["from_version"], move["to_version"]) for move in moves] == [(number, None), (None, number)]
    planned = admin.delete(f"/v1/models/net/versions/{number}?dry_run=true").json()
    assert planned["bytes"] > 0
    gone = admin.delete(f"/v1/models/net/versions/{number}").json()
    assert gone == planned | {"dry_run": False, "id": f"net:{number}"}
    assert admin.delete(f"/v1/models/net/versions/{number}").json() == gone
    assert house.clean() == gone["bytes"]
    assert admin.get(f"/v1/models/net/versions/{number}").status_code == 404
    assert admin.get("/v1/models/net/versions").json()["items"] == []
    again = export(house, admin, "net", trained, seed=2)
    assert again == number + 1


def test_a_model_goes_with_its_versions_and_numbers_go_on(house: Any, admin: httpx.Client, trained: str) -> None:
    posted = admin.post("/v1/models/whole/versions", json={"run": trained}).json()
    assert admin.delete("/v1/models/whole").json()["code"] == "illegal_move"
    house.export(3)
    gone = admin.delete("/v1/models/whole").json()
    assert (gone["id"], gone["derived"]) == ("whole", [])
    assert admin.delete("/v1/models/whole").json() == gone
    assert admin.get("/v1/models/whole").status_code == 404
    assert "whole" not in {one["name"] for one in admin.get("/v1/models").json()["items"]}
    assert export(house, admin, "whole", trained, seed=4) == posted["version"] + 1
    assert admin.get("/v1/models/whole").status_code == 200
    assert admin.delete("/v1/models/never").status_code == 404
    limited = house.client("submit", models=["other"])
    assert limited.delete("/v1/models/whole").status_code == 403
