"""Changing, resuming and asking many jobs over HTTP, against a real control plane."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from detco_core.contract import events


@pytest.fixture(autouse=True)
def _photos(photos: str) -> None:
    """Every test here has a data set."""


@pytest.fixture
def submit(admin: httpx.Client) -> Iterator[Any]:
    """Submits a smoke run and returns its id; what is left of it ends with the test."""
    made: list[str] = []

    def post(**body: Any) -> str:
        answer = admin.post("/v1/runs", json={"dataset": "photos", "preset": "smoke", **body})
        assert answer.status_code == 202, answer.text
        made.append(answer.json()["id"])
        return made[-1]

    yield post
    admin.post("/v1/runs/actions", json={"action": "kill", "ids": made or ["run_none"]})


def act(client: httpx.Client, expect: int = 200, **body: Any) -> Any:
    answer = client.post("/v1/runs/actions", json=body)
    assert answer.status_code == expect, answer.text
    return answer.json()


class TestChange:
    def test_what_is_left_out_stays(self, admin: httpx.Client, submit: Any) -> None:
        run = submit(name="first", labels={"a": "1"}, max_seconds=60, group="g")
        answer = admin.patch(f"/v1/runs/{run}", json={"priority": 7, "max_seconds": None, "labels": {"b": "2"}})
        shown = answer.json()
        assert answer.status_code == 200, answer.text
        assert (shown["name"], shown["group"], shown["labels"]) == ("first", "g", {"b": "2"})
        assert (shown["priority"], shown["max_seconds"], shown["max_attempts"]) == (7, None, 3)
        (noted, _) = admin.get("/v1/audit", params={"target": run}).json()["items"]
        assert noted["details"] == {"priority": 7, "max_seconds": None, "labels": {"b": "2"}}

    def test_only_if_nobody_changed_it_since(self, admin: httpx.Client, submit: Any) -> None:
        run = submit()
        path, seen = f"/v1/runs/{run}", {"If-Match": admin.get(f"/v1/runs/{run}").headers["etag"]}
        changed = admin.patch(path, json={"name": "mine"}, headers=seen)
        assert changed.status_code == 200
        stale = admin.patch(path, json={"name": "theirs"}, headers=seen)
        assert (stale.status_code, stale.json()["code"]) == (412, "stale_version")
        fresh = {"If-Match": changed.headers["etag"]}
        assert admin.patch(path, json={"name": "theirs"}, headers=fresh).json()["name"] == "theirs"

    def test_what_has_ended_keeps_its_terms(self, admin: httpx.Client, submit: Any) -> None:
        run = submit()
        admin.post(f"/v1/runs/{run}/cancel")
        refused = admin.patch(f"/v1/runs/{run}", json={"priority": 1, "name": "late"})
        assert (refused.status_code, "priority" in refused.json()["detail"]) == (409, True)
        answer = admin.patch(f"/v1/runs/{run}", json={"name": "late", "priority": 0})
        assert answer.json()["name"] == "late"

    @pytest.mark.parametrize(
        "body",
        [{"priority": 101}, {"priority": None}, {"max_attempts": 0}, {"state": "running"}, {"labels": {"a b": ""}}],
    )
    def test_what_is_refused(self, admin: httpx.Client, submit: Any, body: Any) -> None:
        assert admin.patch(f"/v1/runs/{submit()}", json=body).status_code == 422
        assert admin.patch("/v1/runs/run_none", json={}).status_code == 404


class TestResume:
    def test_on_as_many_gpus_as_before(self, admin: httpx.Client, submit: Any) -> None:
        run = submit()
        admin.post(f"/v1/runs/{run}/pause")
        for body in ({"gpus": 1}, None, {"gpus": 1}):
            answer = admin.post(f"/v1/runs/{run}/resume", json=body)
            assert (answer.status_code, answer.json()["state"]) == (200, "queued")

    def test_on_another_number_it_takes_consent(self, admin: httpx.Client, house: Any, submit: Any) -> None:
        run = submit(priority=50)
        path = f"/v1/runs/{run}"
        taken = house.claim("gpu")
        assert taken.run_id == run
        house.say(taken, house.checkpoint(5, b"five"))
        assert admin.post(f"{path}/resume", json={"gpus": 2}).status_code == 409
        admin.post(f"{path}/pause")
        house.close(taken, "stopped")
        refused = admin.post(f"{path}/resume", json={"gpus": 2})
        assert (refused.status_code, "allow_world_size_change" in refused.json()["detail"]) == (422, True)
        consent = {"allow_world_size_change": True}
        assert admin.post(f"{path}/resume", json={"gpus": 3} | consent).status_code == 422
        answer = admin.post(f"{path}/resume", json={"gpus": 2} | consent)
        assert (answer.json()["state"], answer.json()["gpus"]) == ("queued", 2)
        again = house.claim("gpu")
        assert (again.run_id, len(again.slots), again.spec["allow_world_size_change"]) == (run, 2, True)
        house.close(again)

    def test_other_jobs_have_no_number_of_gpus(self, admin: httpx.Client) -> None:
        scan = admin.get("/v1/datasets/photos").json()["job"]
        assert admin.post(f"/v1/runs/{scan}/resume", json={"gpus": 2}).status_code == 422


class TestManyAtOnce:
    def test_a_group_is_asked_and_each_answers(self, admin: httpx.Client, submit: Any) -> None:
        runs = [submit(group="night", labels={"n": str(n)}) for n in range(3)]
        admin.post(f"/v1/runs/{runs[0]}/cancel")
        listed = admin.post("/v1/runs/actions?dry_run=true", json={"action": "pause", "group": "night"}).json()
        assert [(item["id"], item["state"]) for item in listed["items"]] == [(run, "queued") for run in runs[1:]]
        asked = act(admin, action="pause", group="night", label="n=1")
        assert [(item["id"], item["state"], item["ok"]) for item in asked["items"]] == [(runs[1], "paused", True)]
        assert act(admin, action="resume", group="night", state="paused")["items"][0]["state"] == "queued"
        assert act(admin, action="kill", group="nobody") == {"items": [], "left": 0}
        noted = admin.get("/v1/audit", params={"target": "runs"}).json()["items"]
        assert noted[0]["details"] == {"action": "kill", "group": "nobody", "done": 0, "refused": []}

    def test_one_that_cannot_be_moved_hinders_no_other(self, admin: httpx.Client, submit: Any) -> None:
        runs = [submit(), submit()]
        admin.post(f"/v1/runs/{runs[0]}/cancel")
        found = act(admin, action="pause", ids=[runs[0], "run_none", runs[1], runs[1]])["items"]
        assert [item["ok"] for item in found] == [False, False, True]
        assert [item["problem"]["status"] for item in found[:2]] == [409, 404]
        assert found[0]["problem"]["available_actions"] == []
        assert found[2]["state"] == "paused"
        act(admin, action="pause", ids=["run_none"])
        whole, _ = admin.get("/v1/audit", params={"target": "runs", "page_size": 2}).json()["items"]
        assert whole["details"] == {"action": "pause", "done": 0, "refused": ["run_none"]}

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"ids": []},
            {"ids": ["a"], "group": "g"},
            {"ids": ["a"], "state": "queued"},
            {"group": "g", "action": "x"},
        ],
    )
    def test_what_is_refused(self, admin: httpx.Client, body: Any) -> None:
        act(admin, 422, **({"action": "cancel"} | body))

    def test_a_reader_may_not(self, house: Any) -> None:
        reader = house.client("read")
        act(reader, 403, action="cancel", group="night")
        assert reader.patch("/v1/runs/run_none", json={}).status_code == 403


def test_what_comes_after_ends_with_it(admin: httpx.Client, submit: Any) -> None:
    first = submit()
    second = submit(after=[first], name="after")
    admin.post(f"/v1/runs/{first}/cancel")
    shown = admin.get(f"/v1/runs/{second}").json()
    assert (shown["state"], shown["reason"]) == ("cancelled", f"it was to run after {first}, which ended cancelled")


def test_a_run_says_what_it_waits_for_and_what_it_may_take(admin: httpx.Client, submit: Any, house: Any) -> None:
    first = submit(priority=3, preempt=True, preemptible=False, idle_seconds=90, max_seconds=3600, grace_seconds=5)
    second = submit(after=[first])
    shown = admin.get(f"/v1/runs/{second}").json()
    assert (shown["waiting_reason"], shown["waiting_detail"]) == ("after", f"it comes after {first} (queued)")
    taken = house.claim("gpu")
    house.say(taken, events.Started(environment={}))
    shown = admin.get(f"/v1/runs/{first}").json()
    terms = ("preempt", "preemptible", "idle_seconds", "max_seconds", "priority", "grace_seconds", "waiting_detail")
    assert [shown[term] for term in terms] == [True, False, 90, 3600, 3, 5, None]
    house.close(taken, "lost", cause="idle", signal="SIGKILL", message="it had hung")
    (attempt,) = admin.get(f"/v1/runs/{first}/attempts").json()["items"]
    assert (attempt["state"], attempt["cause"], attempt["signal"], attempt["exit_code"]) == (
        "lost",
        "idle",
        "SIGKILL",
        None,
    )
    assert attempt["seconds"] >= 0
