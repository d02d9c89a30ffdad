from collections.abc import Callable

import httpx
import pytest

from detco_core.contract import events
from tests.unit.server.api.conftest import House

Values = dict[int, dict[str, float]]


@pytest.fixture(scope="module")
def make(house: House, admin: httpx.Client, photos: str) -> Callable[[Values], str]:
    """Submits a run and lets it say these values and complete; gives its id."""

    def made(values: Values) -> str:
        run = str(admin.post("/v1/runs", json={"dataset": photos, "preset": "smoke"}).json()["id"])
        taken = house.claim("gpu")
        house.say(taken, *(events.Metrics(step=step, values=of) for step, of in values.items()))
        house.close(taken)
        return run

    return made


@pytest.fixture(scope="module")
def run(make: Callable[[Values], str]) -> str:
    return make({step: {"loss": float(10 - step), "lr": 0.5} for step in range(10)})


def test_every_value_of_a_short_curve(admin: httpx.Client, run: str) -> None:
    answer = admin.get(f"/v1/runs/{run}/metrics", params={"key": "loss"}).json()
    assert answer["next_page_token"] is None
    one = {"key": "loss", "count": 1}
    assert answer["items"] == [
        one | {"step": s, "first_step": s, "value": 10.0 - s, "lowest": 10.0 - s, "highest": 10.0 - s}
        for s in range(10)
    ]
    both = admin.get(f"/v1/runs/{run}/metrics").json()["items"]
    assert [(point["step"], point["key"]) for point in both] == [(s, key) for s in range(10) for key in ("loss", "lr")]


def test_points_and_ranges(admin: httpx.Client, run: str) -> None:
    wanted: dict[str, str | int] = {"key": "loss", "max_points": 2, "after_step": 1, "up_to_step": 7}
    points = admin.get(f"/v1/runs/{run}/metrics", params=wanted).json()["items"]
    assert points == [
        {"key": "loss", "step": 4, "first_step": 2, "value": 6.0, "lowest": 6.0, "highest": 8.0, "count": 3},
        {"key": "loss", "step": 7, "first_step": 5, "value": 3.0, "lowest": 3.0, "highest": 5.0, "count": 3},
    ]
    assert admin.get(f"/v1/runs/{run}/metrics", params={"after_step": 99}).json()["items"] == []
    wrongs: list[dict[str, int]] = [
        {"max_points": 0},
        {"max_points": 10_001},
        {"after_step": -2},
        {"up_to_step": 2**63},
    ]
    for wrong in wrongs:
        assert admin.get(f"/v1/runs/{run}/metrics", params=wrong).status_code == 422, wrong


def test_the_newest_and_extreme_values(admin: httpx.Client, run: str) -> None:
    assert admin.get(f"/v1/runs/{run}/metrics/summary").json()["items"] == [
        {"key": "loss", "step": 9, "value": 1.0, "lowest": 1.0, "highest": 10.0},
        {"key": "lr", "step": 9, "value": 0.5, "lowest": 0.5, "highest": 0.5},
    ]


def test_several_runs_at_once(admin: httpx.Client, run: str, make: Callable[[Values], str]) -> None:
    other, silent = make({0: {"loss": 3.0}, 5: {"loss": 2.0}}), make({})
    answer = admin.get("/v1/metrics", params={"run": [other, run, silent], "key": "loss", "max_points": 1}).json()
    mine = {"steps": [9], "values": [1.0], "first_steps": [0], "lowest": [1.0], "highest": [10.0], "counts": [10]}
    others = {"steps": [5], "values": [2.0], "first_steps": [0], "lowest": [2.0], "highest": [3.0], "counts": [2]}
    assert answer["items"] == [{"run": other, "key": "loss"} | others, {"run": run, "key": "loss"} | mine]
    assert admin.get("/v1/metrics", params={"run": [run, "run_none"]}).status_code == 404
    assert admin.get("/v1/metrics", params={"run": [run, run]}).status_code == 422
    assert admin.get("/v1/metrics").status_code == 422
