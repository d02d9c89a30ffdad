"""Lists, single runs and metrics through the API, over a database that is full."""

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import httpx

from benchmarks.control.clock import Times, summed_up, timed
from benchmarks.control.deployment import Deployment
from benchmarks.control.load import KEYS

COMPARED = 10
"""Runs laid over each other in one request."""


def measure_reads(
    deployed: Deployment, client: httpx.Client, runs: Sequence[str], long_runs: int, calls: int
) -> list[Times]:
    """Every kind of look `calls` times, one kind after the other, at runs chosen by a fixed seed."""
    looks = kinds_of_looks(client, runs, long_runs)
    for look in looks.values():  # once each: connections, compiled statements
        look()
    found = []
    for what, look in looks.items():
        before = deployed.cpu_seconds()
        milliseconds = [timed(look) for _ in range(calls)]
        found.append(summed_up(what, milliseconds, deployed.cpu_seconds() - before))
    return found


def kinds_of_looks(client: httpx.Client, runs: Sequence[str], long_runs: int) -> dict[str, Callable[[], Any]]:
    """By what they are."""
    chance = random.Random(0)
    get, any_of = partial(answer, client), partial(chance.choice, runs)
    long = partial(chance.choice, runs[-max(1, long_runs // 2) :])
    deep = deep_page(client, pages=20)

    def several() -> Any:
        return get("/v1/metrics", run=chance.sample(runs, COMPARED), key="loss")

    return {
        "list runs, first page of 50": lambda: get("/v1/runs"),
        "list runs, a later page": lambda: get("/v1/runs", page_token=deep),
        "list runs by state (queued)": lambda: get("/v1/runs", state="queued"),
        "list runs by state (failed)": lambda: get("/v1/runs", state="failed"),
        "list runs by group": lambda: get("/v1/runs", group=f"group-{chance.randrange(max(1, len(runs) // 500))}"),
        "list runs by a common label": lambda: get("/v1/runs", label=f"team=t{chance.randrange(50)}"),
        "list runs by a rare label": lambda: get(
            "/v1/runs", label=f"sweep=s{chance.randrange(max(1, len(runs) // 100))}"
        ),
        "list evaluations": lambda: get("/v1/evaluations"),
        "show a run": lambda: get(f"/v1/runs/{any_of()}"),
        "events of a run": lambda: get(f"/v1/runs/{any_of()}/events"),
        "metrics of a run": lambda: get(f"/v1/runs/{any_of()}/metrics"),
        "metrics, newest and extreme values": lambda: get(f"/v1/runs/{any_of()}/metrics/summary"),
        f"metrics of {COMPARED} runs, one key": several,
        "metrics of a long run, one key": lambda: get("/v1/metrics", run=long(), key=KEYS[0]),
        "metrics of a long run, all keys": lambda: get("/v1/metrics", run=long()),
    }


def answer(client: httpx.Client, path: str, **parameters: Any) -> Any:
    """The JSON of a GET that must succeed."""
    response = client.get(path, params=parameters)
    response.raise_for_status()
    return response.json()


def deep_page(client: httpx.Client, pages: int) -> str:
    """The token of a page so many pages behind the first, as far as there are."""
    token = ""
    for _ in range(pages):
        page = answer(client, "/v1/runs", **({"page_token": token} if token else {}))
        if page["next_page_token"] is None:
            break
        token = page["next_page_token"]
    return token
