"""Workers as people see them, and taking one out of service."""

from typing import Any

import httpx

from control.db.session import unit_of_work
from control.records.scheduling.workers import NewWorker, register, retire
from tests.unit.server.api.pages import walk


def test_they_show_their_slots_and_who_has_them(house: Any, admin: httpx.Client, photos: str) -> None:
    run = admin.post("/v1/runs", json={"dataset": photos, "preset": "smoke"}).json()["id"]
    taken = house.claim("gpu")
    (worker,) = admin.get("/v1/workers").json()["items"]
    assert (worker["host"], worker["state"]) == ("here", "active")
    assert worker["heartbeat_age"] < 60
    assert worker["looked_at"] is not None
    held = [slot for slot in worker["slots"] if slot["run"]]
    assert [(slot["purpose"], slot["run"]) for slot in held] == [("train", run)]
    assert held[0]["leased_at"] is not None
    house.close(taken)
    assert admin.get(f"/v1/workers/{worker['id']}").json()["id"] == worker["id"]
    assert admin.get("/v1/workers/wkr_none").status_code == 404


def test_one_is_drained_and_let_again(house: Any, admin: httpx.Client, photos: str) -> None:
    run = admin.post("/v1/runs", json={"dataset": photos, "preset": "smoke"}).json()["id"]
    taken = house.claim("gpu")
    (worker,) = admin.get("/v1/workers").json()["items"]
    path = f"/v1/workers/{worker['id']}"
    assert admin.post(f"{path}/drain").json()["state"] == "draining"
    assert admin.get(f"/v1/runs/{run}").json()["desired_state"] == "run"
    drained = admin.post(f"{path}/drain", json={"preempt": True}).json()
    assert (drained["state"], drained["preempting"]) == ("draining", True)
    assert admin.get(f"/v1/runs/{run}").json()["desired_state"] == "preempt"
    assert admin.post(f"{path}/undrain").json()["state"] == "active"
    assert admin.post("/v1/workers/wkr_none/drain").status_code == 404
    assert {entry["action"] for entry in admin.get("/v1/audit", params={"target": worker["id"]}).json()["items"]} == {
        "worker.drain",
        "worker.undrain",
    }
    house.close(taken)


def test_the_list_has_pages(house: Any, admin: httpx.Client) -> None:
    house.worker()
    with unit_of_work(house.engine) as session:
        more = [register(session, NewWorker(host=f"h{n}", pid=1, software="0", roots=(), slots=())) for n in range(4)]
        retire(session, more[0].id)
    alive = [worker["id"] for worker in walk(admin, "/v1/workers", 2)]
    assert alive == sorted(alive, reverse=True)
    assert {worker.id for worker in more[1:]} < set(alive)
    everyone = [worker["id"] for worker in walk(admin, "/v1/workers", 3, all=True)]
    assert set(everyone) - set(alive) == {more[0].id}
    with unit_of_work(house.engine) as session:
        for worker in more:
            retire(session, worker.id)
