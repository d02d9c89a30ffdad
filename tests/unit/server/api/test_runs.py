"""Submitting, planning, finding and steering runs over HTTP, against a real control plane."""

import json
import time
from typing import Any

import httpx
import pytest

from control.db.session import read_only
from control.records.outbox import due
from detco_core.contract import events
from detco_core.contract.config import override
from detco_core.contract.presets import PRESETS, preset
from detco_core.contract.reader import digest, plain

SMOKE = {"dataset": "photos", "preset": "smoke"}


@pytest.fixture(autouse=True)
def _photos(photos: str) -> None:
    """Every test here has a data set of 20 images."""


def submit(client: httpx.Client, expect: int = 202, key: str | None = None, **body: Any) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    answer = client.post("/v1/runs", json=SMOKE | body, headers=headers)
    assert answer.status_code == expect, answer.text
    return answer.json()


def cancel(client: httpx.Client, run: str) -> None:
    assert client.post(f"/v1/runs/{run}/kill").status_code == 200


def test_a_run_is_answered_with_itself(admin: httpx.Client, house: Any) -> None:
    body = SMOKE | {"overrides": {"train.steps": 7}, "name": "first", "labels": {"team": "a"}, "group": "g1"}
    answer = admin.post("/v1/runs", json=body)
    run = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/runs/{run['id']}"
    assert run["state"] == "queued"
    assert run["queue_position"] == 1
    assert run["available_actions"] == ["pause", "cancel", "kill"]
    assert run["config"] == plain(override(preset("smoke"), {"train.steps": 7}))
    assert run["config_digest"] == digest(override(preset("smoke"), {"train.steps": 7}))
    assert (run["dataset"], run["name"], run["labels"], run["group"]) == ("photos@1", "first", {"team": "a"}, "g1")
    assert run["created_by"] == "admin"
    shown = admin.get(f"/v1/runs/{run['id']}")
    assert shown.json()["id"] == run["id"]
    assert shown.headers["etag"].startswith('"')
    cancel(admin, run["id"])


def test_the_wake_up_is_sent(admin: httpx.Client, house: Any) -> None:
    run = submit(admin)
    cancel(admin, run["id"])
    until = time.monotonic() + 10
    while time.monotonic() < until:  # it goes out behind the answer
        with read_only(house.engine) as session:
            if not due(session):
                return
    pytest.fail("the outbox still owes a wake-up")


@pytest.mark.parametrize(
    ("overrides", "paths"),
    [
        ({"train.stepz": 1}, ["overrides.train.stepz"]),
        ({"train.stepz": 1, "learning_rate": 1}, ["overrides.train.stepz", "overrides.learning_rate"]),
        ({"train.steps": "many"}, ["overrides.train.steps"]),
        ({"method.queue_size": 100}, ["overrides.method.queue_size"]),
        ({"optim.lr": -1.0}, ["overrides.optim.lr"]),
        ({"monitor.task": "knn", "monitor.dataset": "photos"}, ["overrides.monitor.dataset"]),
    ],
)
def test_wrong_overrides_are_named(admin: httpx.Client, overrides: dict[str, Any], paths: list[str]) -> None:
    problem = submit(admin, 422, overrides=overrides)
    assert [error["path"] for error in problem["errors"]] == paths


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"preset": "detco_r99"}, 422, "detco_r50_aa"),
        ({"dataset": "nowhere"}, 404, "nowhere"),
        ({"dataset": "photos@9"}, 404, "photos@9"),
        ({"after": ["run_none"]}, 404, "run_none"),
        ({"colour": "red"}, 422, "colour"),
        ({"gpus": 3}, 422, "batch_size"),
        ({"gpus": 0}, 422, "gpus"),
        ({"nodes": 65}, 422, "nodes"),
        ({"gpus": 2, "nodes": 3}, 422, "gpus times nodes"),
        ({"priority": 1000}, 422, "priority"),
        ({"labels": {"a b": "c"}}, 422, "labels.a b"),
        ({"overrides": {"train.batch_size": 32}}, 422, "images"),
        ({"overrides": {"seed": float("nan")}}, 422, "NaN"),
        ({"overrides": {"preset": "nul\0"}}, 422, "NUL"),
        ({"name": "two\nlines"}, 422, "name"),
        ({"init": {"weights": "wts_none"}}, 404, "wts_none"),
        ({"init": {"run": "run_none"}}, 404, "run_none"),
        ({"init": {"model": "none"}}, 404, "none"),
        ({"init": {}}, 422, "give one of"),
        ({"init": {"weights": "a", "model": "b"}}, 422, "give one of"),
        ({"init": {"weights": "random"}}, 422, "give one of"),
        ({"init": {"weight": "a"}}, 422, "init.weight"),
        ({"preset": "detco_r50_domain", "overrides": {"train.batch_size": 16}}, 422, "train.warm_start to false"),
    ],
)
def test_what_cannot_be_run_is_refused(admin: httpx.Client, body: dict[str, Any], status: int, word: str) -> None:
    content = json.dumps(SMOKE | body)
    answer = admin.post("/v1/runs", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert word in answer.text


def test_deep_nesting_is_refused(admin: httpx.Client) -> None:
    for depth in (40, 100_000):
        nested = "[" * depth + "]" * depth
        body = f'{{"dataset": "photos", "preset": "smoke", "overrides": {{"seed": {nested}}}}}'
        answer = admin.post("/v1/runs", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422), answer.text


def test_presets_are_listed_when_unknown(admin: httpx.Client) -> None:
    problem = submit(admin, 422, preset="nope")
    assert all(name in problem["detail"] for name in PRESETS)
    assert [error["path"] for error in problem["errors"]] == ["preset"]


def test_a_plan_submits_nothing(admin: httpx.Client) -> None:
    before = admin.get("/v1/runs").json()
    answer = admin.post("/v1/runs?dry_run=true", json=SMOKE | {"overrides": {"train.steps": 40}})
    plan = answer.json()
    assert answer.status_code == 200
    assert plan["config"]["train"]["steps"] == 40
    assert plan["dataset"] == "photos@1"
    assert {warning["code"] for warning in plan["warnings"]} >= {"queue_exceeds_dataset", "broken_files"}
    deviations = {deviation["key"]: deviation for deviation in plan["deviations"]}
    assert deviations["method.backbone"] == {
        "key": "method.backbone",
        "published": "resnet50",
        "here": "resnet18",
        "note": "",
    }
    estimate = plan["estimate"]
    assert estimate["steps"] == 40
    assert estimate["seconds"] > 0
    assert estimate["memory_bytes"] > estimate["disk_bytes"] / 8 > 0
    assert estimate["basis"].startswith("arithmetic")
    assert admin.get("/v1/runs").json() == before


def test_a_plan_of_a_wrong_run_is_refused_the_same(admin: httpx.Client) -> None:
    body = SMOKE | {"overrides": {"train.stepz": 1}}
    planned, submitted = admin.post("/v1/runs?dry_run=true", json=body), admin.post("/v1/runs", json=body)
    assert planned.status_code == submitted.status_code == 422
    assert planned.json()["errors"] == submitted.json()["errors"]


class TestIdempotency:
    def test_the_same_key_gives_the_same_run(self, admin: httpx.Client) -> None:
        headers = {"Idempotency-Key": "key-1"}
        first, second = (admin.post("/v1/runs", json=SMOKE, headers=headers) for _ in range(2))
        assert (first.status_code, second.status_code) == (202, 202)
        assert first.json() == second.json()
        assert first.headers["location"] == second.headers["location"]
        assert "idempotency-replayed" not in first.headers
        assert second.headers["idempotency-replayed"] == "true"
        cancel(admin, first.json()["id"])

    def test_another_body_under_the_key_is_refused(self, admin: httpx.Client) -> None:
        run = submit(admin, key="key-2")
        assert submit(admin, 422, key="key-2", name="other")["code"] == "idempotency_key_reused"
        cancel(admin, run["id"])

    def test_keys_belong_to_their_token(self, admin: httpx.Client, house: Any) -> None:
        other = house.client("admin")
        mine, theirs = submit(admin, key="key-3"), submit(other, key="key-3")
        assert mine["id"] != theirs["id"]
        for run in (mine, theirs):
            cancel(admin, run["id"])

    def test_a_refused_request_leaves_the_key_free(self, admin: httpx.Client) -> None:
        submit(admin, 404, key="key-4", dataset="nowhere")
        cancel(admin, submit(admin, key="key-4")["id"])


class TestList:
    def test_pages_filters_and_order(self, admin: httpx.Client) -> None:
        made = [submit(admin, group="pages", labels={"n": str(n)})["id"] for n in range(5)]
        found: list[str] = []
        token = None
        while True:
            asked = {"group": "pages", "page_size": "2"} | ({"page_token": token} if token else {})
            page = admin.get("/v1/runs", params=asked).json()
            found += [run["id"] for run in page["items"]]
            token = page["next_page_token"]
            if token is None:
                break
        assert found == made[::-1]
        labelled = admin.get("/v1/runs", params={"label": "n=3", "group": "pages"}).json()["items"]
        assert [run["id"] for run in labelled] == [made[3]]
        assert admin.get("/v1/runs", params={"state": "completed", "group": "pages"}).json()["items"] == []
        for run in made:
            cancel(admin, run)

    @pytest.mark.parametrize("query", ["page_token=x", "page_token=!!", "page_size=0", "page_size=9999", "state=odd"])
    def test_bad_pages_are_refused(self, admin: httpx.Client, query: str) -> None:
        assert admin.get(f"/v1/runs?{query}").status_code == 422


class TestSteering:
    def test_pause_resume_cancel_are_idempotent(self, admin: httpx.Client) -> None:
        run = submit(admin)["id"]
        for action, state in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
            for _ in range(2):
                answer = admin.post(f"/v1/runs/{run}/{action}")
                assert (answer.status_code, answer.json()["state"]) == (200, state)

    def test_an_unlawful_move_names_the_lawful_ones(self, admin: httpx.Client) -> None:
        run = submit(admin)["id"]
        admin.post(f"/v1/runs/{run}/pause")
        problem = admin.post(f"/v1/runs/{run}/finish")
        assert problem.status_code == 409
        assert problem.json()["available_actions"] == ["resume", "cancel", "kill"]
        cancel(admin, run)

    def test_a_running_run_is_asked_and_shown(self, admin: httpx.Client, house: Any) -> None:
        run = submit(admin)["id"]
        taken = house.claim("gpu")
        assert taken.run_id == run
        progress = events.Progress(step=3, steps=20, images_per_second=5.0, eta_seconds=9.0)
        metric = events.Metrics(step=3, values={"loss": 50.0, "lr": 0.03})
        house.say(taken, events.Started(environment={"torch": "2"}), progress, metric)
        shown = admin.get(f"/v1/runs/{run}").json()
        assert (shown["state"], shown["attempt"], shown["progress"]["step"]) == ("running", 1, 3)
        assert shown["metrics"] == {"loss": 50.0, "lr": 0.03}
        assert shown["environment"] == {"torch": "2"}
        assert admin.post(f"/v1/runs/{run}/finish").json()["desired_state"] == "finish"
        house.close(taken, "stopped")
        assert admin.get(f"/v1/runs/{run}").json()["state"] == "completed"

    def test_unknown_runs_and_actions(self, admin: httpx.Client) -> None:
        assert admin.post("/v1/runs/run_none/cancel").status_code == 404
        assert admin.post("/v1/runs/%00/cancel").status_code == 422
        assert admin.post("/v1/runs/run_none/explode").status_code == 404
        assert admin.get("/v1/runs/run_none/cancel").status_code == 405
        assert admin.put("/v1/runs").headers["allow"] == "GET, HEAD, POST"

    def test_the_act_is_in_the_audit(self, admin: httpx.Client) -> None:
        run = submit(admin)["id"]
        answer = admin.post(f"/v1/runs/{run}/cancel", headers={"X-Request-Id": "req-7"})
        assert answer.status_code == 200
        entries = admin.get("/v1/audit", params={"target": run}).json()["items"]
        assert [entry["action"] for entry in entries] == ["run.cancel", "run.submit"]
        assert entries[0]["request_id"] == "req-7"


def test_a_run_starts_from_weights_and_waits_while_they_are_checked(admin: httpx.Client, house: Any) -> None:
    (house.root / "w.pth").write_bytes(b"theirs")
    body = {"uri": str(house.root / "w.pth"), "architecture": "resnet18"}
    weights = admin.post("/v1/weights", json=body).json()
    init = {"weights": weights["id"]}
    run = submit(admin, init=init, overrides={"train.warm_start": True})
    assert run["init"] == {"weights_id": weights["id"], "strict": True}
    assert run["waiting_reason"] == "weights_checking"
    refused = submit(admin, 422, init=init, overrides={"method.backbone": "resnet50"})
    assert "holds a resnet18" in refused["detail"]
    plan = admin.post("/v1/runs?dry_run=true", json=SMOKE | {"init": init}).json()
    assert plan["init"] == run["init"]
    assert "weights_checking" in {warning["code"] for warning in plan["warnings"]}
    house.bring_in()
    assert admin.get(f"/v1/runs/{run['id']}").json()["waiting_reason"] != "weights_checking"
    cancel(admin, run["id"])


class TestWarnings:
    def test_are_shown_by_code_and_listed_as_events(self, admin: httpx.Client, house: Any) -> None:
        run = submit(admin)["id"]
        taken = house.claim("gpu")
        said = [("bad_step", 3), ("collapse", 4), ("bad_step", 5)]
        bodies = [events.Warned(code=code, message=f"{code} at {n}", details={"step": n}) for code, n in said]
        house.say(taken, events.Started(environment={}), *bodies, events.Progress(step=5, steps=20))
        shown = admin.get(f"/v1/runs/{run}").json()["warnings"]
        assert [(w["code"], w["message"], w["count"]) for w in shown] == [
            ("bad_step", "bad_step at 5", 2),
            ("collapse", "collapse at 4", 1),
        ]
        assert shown[0]["details"] == {"step": 5}
        listed = admin.get(f"/v1/runs/{run}/events", params={"type": "warning"}).json()["items"]
        assert [event["data"]["message"] for event in listed] == ["bad_step at 3", "collapse at 4", "bad_step at 5"]
        both = admin.get(f"/v1/runs/{run}/events?type=warning&type=progress").json()["items"]
        assert [event["type"] for event in both] == ["warning"] * 3 + ["progress"]
        house.close(taken)
        stream = admin.get(f"/v1/runs/{run}/events?type=warning", headers={"Accept": "text/event-stream"}).text
        names = [line.removeprefix("event: ") for line in stream.splitlines() if line.startswith("event: ")]
        assert names == ["warning"] * 3 + ["end"]

    def test_a_replay_file_is_kept_and_can_be_had(self, admin: httpx.Client, house: Any) -> None:
        run = submit(admin)["id"]
        taken = house.claim("gpu")
        path = house.root / "step.pt"
        path.write_bytes(b"what is needed to see it again")
        house.say(taken, house.keep(path, "replay/step-3.pt"), events.Finished())
        house.close(taken)
        (listed,) = admin.get(f"/v1/runs/{run}/artifacts").json()["items"]
        assert listed["name"] == "replay/step-3.pt"
        answer = admin.get(f"/v1/runs/{run}/artifacts/{listed['name']}")
        assert (answer.status_code, answer.content) == (200, path.read_bytes())
        assert answer.headers["etag"] == f'"{listed["sha256"]}"'
        assert "filename" in answer.headers["content-disposition"]
        assert admin.get(f"/v1/runs/{run}/artifacts/replay/other.pt").status_code == 404
