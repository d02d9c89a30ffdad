"""Checkpoints, what is kept, and what is deleted."""

from typing import Any

from fastapi import FastAPI, Request

from tests.unit.client.stub.state import MADE, State


def add_checkpoints(app: FastAPI, state: State) -> None:
    @app.get("/v1/runs/{id}/checkpoints")
    def checkpoints(id: str) -> Any:
        kept = {"score": None, "state": "stored", "pinned_by": None, "kept_because": ["latest"]}
        shared = {**MADE, "run": id, "bytes": len(state.file), "sha256": state.sha256, **kept}
        items = [{**shared, "id": f"ckpt_{step}", "step": step, "epoch": 1.0} for step in (10, 20)]
        return {"items": items, "next_page_token": None}

    @app.get("/v1/runs/{id}/checkpoints/best")
    def best(id: str) -> Any:
        return {**MADE, "run": id, "id": "ckpt_10", "step": 10, "epoch": 1.0, "bytes": 1, "sha256": "", "score": 61.2}

    @app.put("/v1/runs/{id}/checkpoints/{checkpoint}/pin")
    @app.delete("/v1/runs/{id}/checkpoints/{checkpoint}/pin")
    def pin(id: str, checkpoint: str) -> Any:
        return {**MADE, "id": checkpoint, "run": id, "step": 20}

    @app.put("/v1/runs/{id}/keep")
    async def keep(id: str, request: Request, dry_run: bool = False) -> Any:
        state.bodies.append(await request.json())
        kept = checkpoints(id)["items"]
        return {"run": id, "dry_run": dry_run, "kept": kept[1:], "deleted": kept[:1], "bytes": len(state.file)}

    @app.delete("/v1/runs/{id}")
    @app.delete("/v1/evaluations/{id}")
    @app.delete("/v1/sweeps/{id}")
    @app.delete("/v1/models/{id}")
    @app.delete("/v1/models/{id}/versions/{number}")
    def delete(id: str, number: int | None = None, dry_run: bool = False) -> Any:
        name = id if number is None else f"{id}:{number}"
        return {"id": name, "dry_run": dry_run, "derived": ["model version net:1"], "bytes": 9}

    @app.get("/v1/store")
    def store() -> Any:
        damaged = {"sha256": "ab", "bytes": 1, "detail": "other bytes", "needed_by": ["checkpoint ckpt_1 of run run_1"]}
        return {"stored": {"count": 7, "bytes": 2048}, "going": {"count": 0, "bytes": 0}, "damaged": [damaged]}

    @app.post("/v1/store/sweep")
    def orphans(dry_run: bool = False) -> Any:
        return {"dry_run": dry_run, "older_than_hours": 24.0, "count": 2, "bytes": 10}
