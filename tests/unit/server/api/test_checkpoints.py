"""What is kept of a run's checkpoints, over the interface."""

from typing import Any

import httpx
import pytest

from detco_core.contract import events


@pytest.fixture
def trained(house: Any, admin: httpx.Client, photos: str) -> str:
    """The id of a completed run with checkpoints of four steps, nothing cleaned yet."""
    posted = admin.post("/v1/runs", json={"dataset": photos, "preset": "smoke", "keep": {"best": 0}}).json()
    assert posted["keep"] == {"best": 0, "latest": None, "every_epochs": None}
    taken = house.claim("gpu")
    saved = [house.checkpoint(step, f"{posted['id']} {step}".encode()) for step in (10, 20, 30, 40)]
    house.say(taken, *saved, events.Finished())
    house.close(taken)
    return str(posted["id"])


def shown(client: httpx.Client, run: str, **query: Any) -> dict[int, Any]:
    items = client.get(f"/v1/runs/{run}/checkpoints", params=query).json()["items"]
    return {item["step"]: item for item in items}


def test_why_each_is_kept_and_what_goes(house: Any, admin: httpx.Client, trained: str) -> None:
    before = shown(admin, trained)
    assert {step: one["kept_because"] for step, one in before.items()} == {
        40: ["latest"],
        30: ["latest"],
        20: [],
        10: [],
    }
    path = f"/v1/runs/{trained}/checkpoints/{before[10]['id']}"
    for _ in range(2):
        pinned = admin.put(f"{path}/pin").json()
    assert (pinned["pinned_by"], pinned["kept_because"]) == ("admin", ["pinned"])
    assert admin.get(f"/v1/runs/{trained}").json()["usage"]["bytes"] == sum(one["bytes"] for one in before.values())
    assert house.clean() == before[20]["bytes"]
    assert sorted(shown(admin, trained)) == [10, 30, 40]
    assert shown(admin, trained, deleted=True)[20]["state"] == "deleted"
    assert admin.get(f"/v1/runs/{trained}/checkpoints/{before[20]['id']}/file").status_code == 404
    assert admin.delete(f"{path}/pin").json()["kept_because"] == []
    house.clean()
    assert sorted(shown(admin, trained)) == [30, 40]
    assert admin.put(f"{path}/pin").status_code == 404


def test_a_policy_is_changed_and_tried_first(house: Any, admin: httpx.Client, trained: str) -> None:
    tried = admin.put(f"/v1/runs/{trained}/keep?dry_run=true", json={"latest": 1}).json()
    assert tried["keep"] == {"best": 1, "latest": 1, "every_epochs": 0.0}
    assert [one["step"] for one in tried["deleted"]] == [30, 20, 10]
    assert tried["bytes"] == sum(one["bytes"] for one in tried["deleted"])
    assert sorted(shown(admin, trained)) == [10, 20, 30, 40]
    assert admin.get(f"/v1/runs/{trained}").json()["keep"]["latest"] is None
    changed = admin.put(f"/v1/runs/{trained}/keep", json={"latest": 3}).json()
    assert [one["step"] for one in changed["kept"]] == [40, 30, 20]
    house.clean()
    assert sorted(shown(admin, trained)) == [20, 30, 40]
    assert admin.get(f"/v1/runs/{trained}").json()["keep"] == {"best": None, "latest": 3, "every_epochs": None}


@pytest.mark.parametrize("body", [{"latest": 0}, {"best": -1}, {"every_epochs": -1}, {"newest": 2}])
def test_a_policy_that_is_none_is_refused(admin: httpx.Client, trained: str, body: dict[str, int]) -> None:
    assert admin.put(f"/v1/runs/{trained}/keep", json=body).status_code == 422


def test_who_may_only_read_pins_nothing(house: Any, trained: str) -> None:
    reader = house.client("read")
    assert reader.put(f"/v1/runs/{trained}/checkpoints/last/pin").status_code == 403
    assert reader.delete(f"/v1/runs/{trained}/checkpoints/last/pin").status_code == 403
    assert reader.put(f"/v1/runs/{trained}/keep", json={}).status_code == 403
