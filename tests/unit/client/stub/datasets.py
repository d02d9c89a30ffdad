"""Data sets and foreign weights."""

from typing import Any

from fastapi import FastAPI, Request

from tests.unit.client.stub.state import MADE, State, problem


def dataset(name: str, **more: Any) -> dict[str, Any]:
    shared = {"state": "ready", "reason": None, "digest": "sha256:ab"} | more
    counts = {"images": 40, "bytes": 123456, "labels": {}, "broken": [{"path": "a/[b].jpg", "reason": "truncated"}]}
    counts["statistics"] = {"1": {"images": 40, "mean": [0.5], "std": [0.25], "bit_depth": 16}}
    own = {**MADE, "id": f"ds_{name}", "name": name, "version": 1, "ref": f"{name}@1", "kind": "images"}
    return {**own, "uri": "/data", "root": "/data", "license": None, **counts, **shared}


def weights(id: str = "wts_1", **more: Any) -> dict[str, Any]:
    named = {"name": "official", "uri": "/w.pth", "architecture": "resnet50", "format": "detco", "license": None}
    report = {"matched": ["conv1.weight"], "missing": [], "unexpected": [f"head.{n}" for n in range(9)]}
    found = {"digest": "sha256:ab", "file": {"bytes": 9, "sha256": "sha256:cd"}, "report": report}
    return {**MADE, "id": id, "state": "ready", "reason": None, "job": "run_9", **named, **found, **more}


def add_datasets(app: FastAPI, state: State) -> None:
    @app.post("/v1/datasets", status_code=202)
    async def add(request: Request) -> Any:
        body = await request.json()
        state.bodies.append(body)
        if not body["uri"].startswith("/"):
            return problem(422, "outside_roots", f"{body['uri']} is outside the allowed roots")
        return dataset(body["name"], state="scanning", digest=None)

    @app.get("/v1/datasets/{name}")
    def get_dataset(name: str) -> Any:
        return dataset(name) if name != "empty" else dataset(name, state="failed", reason="no image in it")

    @app.get("/v1/datasets/{name}/usage")
    def dataset_usage(name: str) -> Any:
        user = {**MADE, "id": "run_1", "name": "first", "state": "completed", "dataset": "photos@1"}
        model = {"model": "detector", "version": 1, "ref": "detector:1", "run": "run_1"}
        used: dict[str, Any] = {"runs": [user], "evaluations": [], "extractions": [], "models": [model]}
        return used | {"name": name, "versions": ["photos@1"], "counts": {"runs": 1}, "bytes": 12000}

    @app.delete("/v1/datasets/{name}")
    @app.delete("/v1/datasets/{name}/versions/{number}")
    def delete_dataset(name: str, number: int = 0, dry_run: bool = False) -> Any:
        id = f"{name}@{number}" if number else name
        return {"id": id, "dry_run": dry_run, "derived": ["run run_1"], "bytes": 12000}

    @app.post("/v1/datasets/{name}/versions", status_code=202)
    async def rescan(name: str, request: Request) -> Any:
        state.bodies.append(await request.json())
        return dataset(name, state="scanning", digest=None)

    @app.get("/v1/datasets")
    def datasets() -> Any:
        return {"items": [dataset("photos")], "next_page_token": None}


def add_weights(app: FastAPI, state: State) -> None:
    @app.post("/v1/weights", status_code=202)
    async def bring_in(request: Request) -> Any:
        state.bodies.append(body := await request.json())
        if body["uri"].endswith(".txt"):
            return weights("wts_bad", state="checking", report=None)
        return weights(state="checking", digest=None, file=None, report=None)

    @app.get("/v1/weights/{id}")
    def get_weights(id: str) -> Any:
        if id == "wts_bad":
            return weights(id, state="failed", reason="it is text", report=None)
        return weights() if id in ("wts_1", "official") else problem(404, "not_found", f"there is no weights {id}")

    @app.get("/v1/weights")
    def all_weights() -> Any:
        return {"items": [weights()], "next_page_token": None}

    @app.delete("/v1/weights/{id}")
    def delete_weights(id: str, dry_run: bool = False) -> Any:
        if id == "wts_held":
            return problem(409, "in_use", "weights wts_held is held by run run_1", holders=["run run_1"])
        return {"id": id, "dry_run": dry_run, "derived": ["run run_1"], "bytes": 9}
