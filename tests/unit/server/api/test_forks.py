"""Forking runs over HTTP, against a real control plane."""

from typing import Any

import httpx
import pytest


def fork(client: httpx.Client, run: str, expect: int = 202, **body: Any) -> Any:
    answer = client.post(f"/v1/runs/{run}/fork", json=body)
    assert answer.status_code == expect, answer.text
    return answer.json()


def test_a_fork_that_carries_weights_is_a_new_run(admin: httpx.Client, run: str, photos: str) -> None:
    made = fork(admin, run, overrides={"optim.lr": 0.01}, name="again", labels={"a": "b"}, group="forks")
    (checkpoint,) = admin.get(f"/v1/runs/{run}/checkpoints").json()["items"]
    assert made["forked_from"] == {"run": run, "checkpoint": checkpoint["id"], "carry": "weights"}
    assert made["init"] == {"run": run, "checkpoint_id": checkpoint["id"], "strict": True}
    assert (made["config"]["optim"]["lr"], made["dataset"], made["name"]) == (0.01, f"{photos}@1", "again")
    assert admin.get("/v1/runs", params={"group": "forks"}).json()["items"][0]["id"] == made["id"]
    (noted,) = admin.get("/v1/audit", params={"target": made["id"]}).json()["items"]
    assert (noted["action"], noted["details"]) == ("run.fork", {"from": run})
    admin.post(f"/v1/runs/{made['id']}/kill")


def test_a_fork_that_carries_all_goes_on(admin: httpx.Client, run: str) -> None:
    body = {"carry": "all", "overrides": {"train.steps": 40}}
    answer = admin.post(f"/v1/runs/{run}/fork", json=body)
    made = answer.json()
    assert answer.headers["location"] == f"/v1/runs/{made['id']}"
    assert (made["forked_from"]["carry"], made["init"], made["config"]["train"]["steps"]) == ("all", None, 40)
    admin.post(f"/v1/runs/{made['id']}/kill")


def test_a_plan_of_a_fork_says_what_becomes_of_the_schedule(admin: httpx.Client, run: str) -> None:
    body = {"carry": "all", "overrides": {"train.steps": 40}}
    answer = admin.post(f"/v1/runs/{run}/fork?dry_run=true", json=body)
    assert answer.status_code == 200
    assert "schedule_extended" in {warning["code"] for warning in answer.json()["warnings"]}


def test_the_same_key_gives_the_same_fork(admin: httpx.Client, run: str) -> None:
    made = [admin.post(f"/v1/runs/{run}/fork", json={}, headers={"Idempotency-Key": "fork-1"}).json() for _ in range(2)]
    assert made[0] == made[1]
    admin.post(f"/v1/runs/{made[0]['id']}/kill")


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"carry": "all"}, 422, "nothing is left to do"),
        ({"carry": "all", "overrides": {"train.steps": 40, "seed": 3}}, 422, "overrides.seed"),
        ({"carry": "all", "overrides": {"train.steps": 40}, "gpus": 2}, 422, "allow_world_size_change"),
        ({"carry": "nothing"}, 422, "carry"),
        ({"checkpoint": "ckpt_none"}, 404, "ckpt_none"),
        ({"checkpoint": "best"}, 409, "monitor"),
        ({"overrides": {"train.stepz": 1}}, 422, "overrides.train.stepz"),
        ({"dataset": "nowhere"}, 404, "nowhere"),
    ],
)
def test_what_cannot_be_forked(admin: httpx.Client, run: str, body: dict[str, Any], status: int, word: str) -> None:
    answer = admin.post(f"/v1/runs/{run}/fork", json=body)
    assert answer.status_code == status, answer.text
    assert word in answer.text


def test_only_pretraining_can_be_forked(admin: httpx.Client, photos: str) -> None:
    scan = admin.get(f"/v1/datasets/{photos}").json()["job"]
    assert admin.post(f"/v1/runs/{scan}/fork", json={}).status_code == 404
    assert admin.post("/v1/runs/run_none/fork", json={}).status_code == 404


def test_a_reader_may_not_fork(house: Any, run: str) -> None:
    assert house.client("read").post(f"/v1/runs/{run}/fork", json={}).status_code == 403
