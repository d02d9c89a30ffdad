"""Evaluations: sources resolved at once, reports, comparison."""

from typing import Any

import httpx
import pytest
from PIL import Image

from detco_core.contract import events

KNN = {"task": "knn", "dataset": "labelled", "source": {"weights": "random"}}


@pytest.fixture(scope="module", autouse=True)
def labelled(house: Any, admin: httpx.Client) -> str:
    """A labelled data set that is ready."""
    for split in ("train", "val"):
        folder = house.root / "labelled" / split / "a"
        folder.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / "0.png")
    body = {"name": "labelled", "kind": "labelled", "uri": str(house.root / "labelled")}
    assert admin.post("/v1/datasets", json=body).status_code == 202
    house.scan(2)
    return "labelled"


def submit(client: httpx.Client, **more: Any) -> Any:
    answer = client.post("/v1/evaluations", json=KNN | more)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/evaluations/{answer.json()['id']}"
    return answer.json()


def score(client: httpx.Client, house: Any, top1: float, **more: Any) -> str:
    """An evaluation that has come to this score."""
    made = submit(client, **more)
    taken = house.claim("cpu")
    assert taken.run_id == made["id"]
    report = {"task": "knn", "protocol": "by hand", "scores": {"top1": top1}, "details": {"k": 20}}
    house.say(taken, events.Reported(report=report), events.Finished())
    house.close(taken)
    return str(made["id"])


def test_a_report_comes_with_completion(admin: httpx.Client, house: Any) -> None:
    done = admin.get(f"/v1/evaluations/{score(admin, house, 50.0)}").json()
    assert (done["state"], done["task"], done["dataset"], done["kind"]) == (
        "completed",
        "knn",
        "labelled@1",
        "evaluate",
    )
    assert done["report"]["scores"] == {"top1": 50.0}
    assert done["report"]["protocol"] == "by hand"


def test_a_plan_says_what_it_takes_by_those_that_were_done(admin: httpx.Client, house: Any) -> None:
    options = {"k": 7}
    path = "/v1/evaluations?dry_run=true"
    plan = admin.post(path, json=KNN | {"options": options}).json()
    assert (plan["dataset"], plan["options"]["k"], plan["source"]["backbone"]) == ("labelled@1", 7, "resnet18")
    assert (plan["estimate"]["seconds"], plan["estimate"]["basis"][:7]) == (None, "unknown")
    score(admin, house, 50.0, options=options)
    before = len(admin.get("/v1/evaluations").json()["items"])
    answer = admin.post(path, json=KNN | {"options": options})
    assert (answer.status_code, answer.json()["estimate"]["basis"][:8]) == (200, "measured")
    assert answer.json()["estimate"]["seconds"] >= 0.0
    assert len(admin.get("/v1/evaluations").json()["items"]) == before
    assert admin.post(path, json=KNN | {"options": {"k": 0}}).status_code == 422


def test_it_has_the_life_of_a_job(admin: httpx.Client) -> None:
    made = submit(admin, name="e", labels={"a": "b"}, options={"k": 3}, seed=4)
    assert (made["state"], made["report"], made["options"]["k"], made["seed"]) == ("queued", None, 3, 4)
    assert made["source"] == {"weights": "random", "backbone": "resnet18", "seed": 4}
    path = f"/v1/evaluations/{made['id']}"
    assert admin.get(f"{path}/events").json()["items"]
    assert admin.get(f"{path}/attempts").json()["items"] == []
    assert admin.get(f"{path}/logs").text == ""
    assert "finish" not in made["available_actions"]
    assert admin.post(f"{path}/finish").status_code == 404
    refused = admin.post(f"/v1/runs/{made['id']}/finish")
    assert (refused.status_code, refused.json()["available_actions"]) == (409, made["available_actions"])
    assert admin.post(f"{path}/cancel").json()["state"] == "cancelled"
    assert admin.get(f"/v1/runs/{made['id']}").json()["kind"] == "evaluate"
    assert made["id"] not in [run["id"] for run in admin.get("/v1/runs").json()["items"]]


def test_a_checkpoint_is_named_at_once(admin: httpx.Client, run: str) -> None:
    last = admin.get(f"/v1/runs/{run}/checkpoints/last").json()["id"]
    for source in ({"run": run}, {"run": run, "checkpoint": "last"}, {"run": run, "checkpoint": last}):
        made = submit(admin, source=source)
        assert made["source"] == {"run": run, "checkpoint_id": last}
        admin.post(f"/v1/evaluations/{made['id']}/kill")


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"task": "juggling"}, 422, "knn"),
        ({"options": {"kk": 3}}, 422, "options.kk"),
        ({"options": {"k": 0}}, 422, "options.k"),
        ({"source": {}}, 422, "source"),
        ({"source": {"run": "run_none", "model": "m"}}, 422, "source"),
        ({"source": {"run": "run_none"}}, 404, "run_none"),
        ({"source": {"model": "none"}}, 404, "none"),
        ({"source": {"weights": "wts_none"}}, 404, "wts_none"),
        ({"source": {"colour": "red"}}, 422, "source.colour"),
        ({"dataset": "nowhere"}, 404, "nowhere"),
        ({"dataset": "photos"}, 422, "labelled"),
        ({"seed": -1}, 422, "seed"),
    ],
)
def test_what_cannot_be_evaluated(
    admin: httpx.Client, photos: str, body: dict[str, Any], status: int, word: str
) -> None:
    answer = admin.post("/v1/evaluations", json=KNN | body)
    assert answer.status_code == status, answer.text
    assert word in answer.text


def test_a_monitor_tells_the_best_checkpoint(admin: httpx.Client, house: Any, photos: str) -> None:
    monitor = {"monitor.task": "knn", "monitor.dataset": "labelled", "monitor.every_epochs": 1}
    run = admin.post("/v1/runs", json={"dataset": photos, "preset": "smoke", "overrides": monitor}).json()["id"]
    path = f"/v1/runs/{run}"
    taken = house.claim("gpu")
    house.say(taken, house.checkpoint(10, b"first"))
    early = admin.get(f"{path}/checkpoints/best")
    assert (early.status_code, "no evaluation of the run's monitor" in early.text) == (409, True)
    evaluation = house.claim("cpu")
    report = {"task": "knn", "protocol": "by hand", "scores": {"top1": 61.5}}
    house.say(evaluation, events.Reported(report=report), events.Finished())
    house.close(evaluation)
    house.say(taken, house.checkpoint(20, b"second"), first=2)
    best = admin.get(f"{path}/checkpoints/best").json()
    assert (best["step"], best["score"]) == (10, 61.5)
    assert admin.get(f"{path}/checkpoints/best/file").content == b"first"
    assert admin.get(path).json()["metrics"]["monitor/top1"] == 61.5
    told = admin.get(f"{path}/events", params={"type": "score"}).json()["items"]
    assert [one["data"]["checkpoint"] for one in told] == [best["id"]]
    assert submit(admin, source={"run": run, "checkpoint": "best"})["source"]["checkpoint_id"] == best["id"]
    init = {"run": run, "checkpoint": "best"}
    planned = admin.post("/v1/runs?dry_run=true", json={"dataset": photos, "preset": "smoke", "init": init}).json()
    assert planned["init"]["checkpoint_id"] == best["id"]
    forked = admin.post(f"{path}/fork", json={"checkpoint": "best"}).json()
    assert forked["forked_from"]["checkpoint"] == best["id"]
    exported = admin.post("/v1/models/best/versions", json={"run": run, "checkpoint": "best"})
    assert exported.status_code == 202
    house.close(taken)
    for queued in admin.get("/v1/evaluations", params={"state": "queued"}).json()["items"]:
        admin.post(f"/v1/evaluations/{queued['id']}/kill")
    admin.post(f"/v1/runs/{forked['id']}/kill")
    admin.post("/v1/models/best/versions/1/kill")


def test_a_run_that_has_no_checkpoint_yet(admin: httpx.Client, photos: str) -> None:
    run = admin.post("/v1/runs", json={"dataset": photos, "preset": "smoke"}).json()["id"]
    answer = admin.post("/v1/evaluations", json=KNN | {"source": {"run": run}})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")
    admin.post(f"/v1/runs/{run}/kill")


def test_filters(admin: httpx.Client) -> None:
    made = [submit(admin, group="some", labels={"n": str(n)})["id"] for n in range(2)]
    listed = admin.get("/v1/evaluations", params={"group": "some"}).json()["items"]
    assert [one["id"] for one in listed] == made[::-1]
    for one in made:
        admin.post(f"/v1/evaluations/{one}/kill")
    assert admin.get("/v1/evaluations", params={"group": "some", "state": "queued"}).json()["items"] == []


class TestCompare:
    def test_scores_by_group(self, admin: httpx.Client, house: Any) -> None:
        mine = [score(admin, house, value, group="mine") for value in (40.0, 60.0)]
        floor = [score(admin, house, 10.0, group="floor")]
        answer = admin.get("/v1/evaluations/compare", params={"id": [*mine, *floor], "group_by": "group"})
        assert answer.status_code == 200, answer.text
        table = answer.json()
        assert [one["id"] for one in table["items"]] == [*mine, *floor]
        groups = {group["group"]: group for group in table["groups"]}
        assert groups["mine"]["scores"]["top1"] == {
            "mean": 50.0,
            "lowest": 40.0,
            "highest": 60.0,
            "stddev": pytest.approx(14.142135),
            "count": 2,
        }
        assert groups["floor"]["scores"]["top1"]["stddev"] is None
        assert groups["floor"]["evaluations"] == floor

    def test_what_cannot_be_compared(self, admin: httpx.Client) -> None:
        assert admin.get("/v1/evaluations/compare").status_code == 422
        assert admin.get("/v1/evaluations/compare", params={"id": ["run_none"]}).status_code == 404
        assert admin.get("/v1/evaluations/compare", params={"id": ["x"], "group_by": "mood"}).status_code == 422
