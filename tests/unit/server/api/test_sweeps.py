"""Sweeps over REST: planned, submitted once, shown ranked and compared, cancelled."""

from typing import Any

import httpx
import pytest
from PIL import Image

from control.db.session import unit_of_work
from control.records.sweeps.sweeps import evaluate_completed
from detco_core.contract import events

GRID = {"optim.lr": [0.01, 0.03], "seed": [1, 2]}


@pytest.fixture(scope="module", autouse=True)
def labelled(house: Any, admin: httpx.Client, photos: str) -> str:
    """A labelled data set that is ready."""
    for split in ("train", "val"):
        folder = house.root / "labelled" / split / "a"
        folder.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / "0.png")
    body = {"name": "labelled", "kind": "labelled", "uri": str(house.root / "labelled")}
    assert admin.post("/v1/datasets", json=body).status_code == 202
    house.scan(2)
    return "labelled"


def submit(client: httpx.Client, status: int = 202, headers: dict[str, str] | None = None, **more: Any) -> Any:
    body = {"dataset": "photos", "preset": "smoke", "grid": GRID} | more
    answer = client.post("/v1/sweeps", json=body, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_from_one_request_to_the_comparison(admin: httpx.Client, house: Any) -> None:
    made = submit(admin, name="rates", evaluate={"task": "knn", "dataset": "labelled"})
    path = f"/v1/sweeps/{made['id']}"
    assert (made["state"], made["runs"], made["evaluations"]) == ("queued", {"queued": 4}, {"waiting": 4})
    assert [item["overrides"] for item in made["items"]][:2] == [
        {"optim.lr": 0.01, "seed": 1},
        {"optim.lr": 0.01, "seed": 2},
    ]
    listed = admin.get("/v1/runs", params={"group": made["id"], "label": "optim.lr=0.03"}).json()["items"]
    assert {run["config"]["optim"]["lr"] for run in listed} == {0.03}
    for number in range(4):
        taken = house.claim("gpu")
        loss = events.Metrics(step=20, values={"loss": 4.0 - number})
        house.say(taken, loss, house.checkpoint(20, b"weights"), events.Finished())
        house.close(taken)
    with unit_of_work(house.engine) as session:
        assert len(evaluate_completed(session)) == 4
    for top1 in (10.0, 20.0, 40.0, 60.0):
        taken = house.claim("cpu")
        report = {"task": "knn", "protocol": "by hand", "scores": {"top1": top1}}
        house.say(taken, events.Reported(report=report), events.Finished())
        house.close(taken)
    done = admin.get(path).json()
    assert (done["state"], done["runs"], done["evaluations"]) == ("completed", {"completed": 4}, {"completed": 4})
    assert done["ranked_by"] == {"by": "evaluation", "task": "knn", "score": "top1"}
    assert [(item["rank"], item["scores"], item["metrics"]) for item in done["items"]][2:] == [
        (2, {"top1": 40.0}, {"loss": 2.0}),
        (1, {"top1": 60.0}, {"loss": 1.0}),
    ]
    rates, seeds = done["comparison"]
    assert [(group["group"], group["scores"]["top1"]["mean"]) for group in rates["groups"]] == [
        ("0.01", 15.0),
        ("0.03", 50.0),
    ]
    assert [(group["group"], group["scores"]["top1"]["mean"]) for group in seeds["groups"]] == [
        ("1", 25.0),
        ("2", 40.0),
    ]
    assert admin.get("/v1/sweeps").json()["items"][0] == {
        name: value for name, value in done.items() if name not in ("items", "ranked_by", "comparison")
    }


def test_what_is_deleted_is_marked(admin: httpx.Client, house: Any) -> None:
    made = submit(admin, grid={"seed": [1]}, evaluate={"task": "knn", "dataset": "labelled"})
    path = f"/v1/sweeps/{made['id']}"
    admin.post(f"{path}/cancel")
    assert admin.delete(f"/v1/runs/{made['items'][0]['run']}").status_code == 200
    (item,) = admin.get(path).json()["items"]
    assert (item["is_deleted"], item["state"], item["evaluation"]) == (True, "cancelled", None)


def test_a_plan_makes_nothing(admin: httpx.Client) -> None:
    before = admin.get("/v1/sweeps").json()["items"]
    body = {"dataset": "photos", "preset": "smoke", "grid": GRID, "evaluate": {"task": "knn", "dataset": "labelled"}}
    planned = admin.post("/v1/sweeps?dry_run=true", json=body)
    assert planned.status_code == 200, planned.text
    plan = planned.json()
    assert (plan["dataset"], plan["varied"], len(plan["runs"])) == ("photos@1", ["optim.lr", "seed"], 4)
    assert len({run["config_digest"] for run in plan["runs"]}) == 4
    assert plan["estimate"]["runs"] == 4
    assert plan["evaluate"]["options"]["k"] == 20
    assert admin.get("/v1/sweeps").json()["items"] == before


def test_a_key_makes_one_sweep(admin: httpx.Client) -> None:
    key = {"Idempotency-Key": "sweep once"}
    first, again = submit(admin, headers=key), submit(admin, headers=key)
    assert first == again
    assert admin.post(f"/v1/sweeps/{first['id']}/cancel").json()["state"] == "cancelled"


def test_cancelling_ends_every_run(admin: httpx.Client) -> None:
    made = submit(admin, grid=None, combinations=[{"seed": 1}, {"seed": 2}])
    for _ in range(2):
        cancelled = admin.post(f"/v1/sweeps/{made['id']}/cancel")
        assert cancelled.status_code == 200
        assert (cancelled.json()["state"], cancelled.json()["runs"]) == ("cancelled", {"cancelled": 2})
    assert "sweep.cancel" in [
        entry["action"] for entry in admin.get("/v1/audit", params={"target": made["id"]}).json()["items"]
    ]


@pytest.mark.parametrize(
    ("body", "status", "pointer", "word"),
    [
        ({"grid": {"optim.lr": [0.1, -1.0]}}, 422, "#/grid/optim.lr", "combination 2: optim.lr=-1.0"),
        ({"grid": None, "combinations": [{"seed": 1}, {"sed": 1}]}, 422, "#/combinations/1/sed", "combination 2"),
        ({"overrides": {"train.stepz": 1}}, 422, "#/overrides/train.stepz", "unknown key"),
        ({"grid": {"seed": list(range(300))}}, 422, "#/grid", "300 runs"),
        ({"grid": {}, "combinations": [{}]}, 422, "#/grid", "either"),
        ({"preset": "detco_r99"}, 422, "#/preset", "detco_r50_aa"),
        ({"dataset": "nowhere"}, 404, None, "nowhere"),
        ({"max_parallel": 0}, 422, "#/max_parallel", "greater"),
        ({"grid": {"seed": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}}, 422, "#/grid", "nested"),
        ({"evaluate": {"task": "knn", "dataset": "photos"}}, 422, "#/evaluate/dataset", "labelled"),
    ],
)
def test_what_cannot_be_swept(
    admin: httpx.Client, body: dict[str, Any], status: int, pointer: str | None, word: str
) -> None:
    before = admin.get("/v1/sweeps").json()["items"]
    problem = submit(admin, status, **body)
    assert word in problem["detail"]
    assert [error["pointer"] for error in problem["errors"]][:1] == ([pointer] if pointer else [])
    assert admin.get("/v1/sweeps").json()["items"] == before


def test_scopes_and_what_is_not_there(house: Any) -> None:
    reader = house.client("read")
    submit(reader, 403)
    assert reader.get("/v1/sweeps").status_code == 200
    assert reader.get("/v1/sweeps/swp_none").status_code == 404
    assert reader.post("/v1/sweeps/swp_none/cancel").status_code == 403
    assert house.client("submit").post("/v1/sweeps/swp_none/cancel").status_code == 404


def test_usage_of_what_was_done(admin: httpx.Client) -> None:
    """The runs of this module, which were done on places without a GPU."""
    table = admin.get("/v1/usage", params={"by": "kind"}).json()
    assert (table["by"], table["since"], table["next_page_token"]) == ("kind", None, None)
    found = {row["key"]: row for row in table["items"]}
    assert {kind: row["jobs"] for kind, row in found.items()} == {"check": 2, "evaluate": 4, "pretrain": 4}
    assert (found["pretrain"]["gpu_seconds"], found["pretrain"]["cpu_seconds"]) == (0.0, None)
    assert found["pretrain"]["bytes"] == 4 * len(b"weights")
    by_label = admin.get("/v1/usage", params={"by": "label", "page_size": 2}).json()
    assert [row["key"] for row in by_label["items"]] == ["optim.lr=0.01", "optim.lr=0.03"]
    rest = admin.get("/v1/usage", params={"by": "label", "page_token": by_label["next_page_token"]}).json()["items"]
    assert [row["key"] for row in rest] == ["seed=1", "seed=2"]
    later = {"since": "2026-01-01T00:00:00+01:00", "until": "2026-01-02T00:00:00+01:00"}
    assert admin.get("/v1/usage", params=later).json()["items"] == []


@pytest.mark.parametrize(
    "params",
    [
        {"by": "mood"},
        {"since": "yesterday"},
        {"since": "2026-01-01T00:00:00"},
        {"since": "0001-01-01T00:00:00+14:00"},
        {"until": "9999-12-31T23:59:59-14:00"},
        {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
        {"page_token": "bm90aGluZw"},
    ],
)
def test_usage_that_cannot_be_asked_for(admin: httpx.Client, params: dict[str, str]) -> None:
    assert admin.get("/v1/usage", params=params).status_code == 422


def test_one_is_deleted_with_its_runs(house: Any, admin: httpx.Client, photos: str) -> None:
    body = {"dataset": photos, "preset": "smoke", "grid": {"seed": [1, 2]}}
    made = admin.post("/v1/sweeps", json=body).json()
    path, runs = f"/v1/sweeps/{made['id']}", [item["run"] for item in made["items"]]
    refused = admin.delete(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert refused.json()["holders"] == [f"run {run}" for run in runs]
    admin.post(f"{path}/cancel")
    planned = admin.delete(path, params={"dry_run": True}).json()
    assert planned == {"id": made["id"], "dry_run": True, "derived": [], "bytes": 0}
    assert admin.get(path).status_code == 200
    assert house.client("read").delete(path).status_code == 403
    for _ in range(2):
        assert admin.delete(path).json() == planned | {"dry_run": False}
    assert [admin.get(gone).status_code for gone in (path, f"/v1/runs/{runs[0]}")] == [404, 404]
    assert admin.delete("/v1/sweeps/swp_none").status_code == 404
    noted = admin.get("/v1/audit", params={"target": made["id"], "action": "sweep.delete"}).json()["items"]
    assert len(noted) == 2
