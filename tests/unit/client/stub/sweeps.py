"""Sweeps."""

from typing import Any

from fastapi import FastAPI, Request

from tests.unit.client.stub.state import MADE, State, problem


def sweep(id: str = "swp_1") -> dict[str, Any]:
    lines = [
        {"number": n, "run": f"run_{n}", "overrides": {"seed": n}, "state": "completed", "metrics": {"loss": 3.5}}
        for n in (1, 2)
    ]
    spread = {"mean": 61.25, "lowest": 61.25, "highest": 61.25, "stddev": None, "count": 1}
    groups = [{"group": "2", "task": "knn", "evaluations": ["eval_1"], "scores": {"top1": spread}}]
    return {
        **MADE,
        "id": id,
        "name": "seeds",
        "group": id,
        "state": "completed",
        "reason": None,
        "dataset": "photos@1",
        "preset": "smoke",
        "varied": ["seed"],
        "runs": {"completed": 2},
        "evaluations": {"completed": 1},
        "ranked_by": {"by": "evaluation", "task": "knn", "score": "top1"},
        "items": [lines[0] | {"rank": None, "score": None}, lines[1] | {"rank": 1, "score": 61.25}],
        "comparison": [{"key": "seed", "groups": groups}],
    }


def add_sweeps(app: FastAPI, state: State) -> None:
    @app.post("/v1/sweeps", status_code=202)
    async def submit(request: Request, dry_run: bool = False) -> Any:
        state.bodies.append(await request.json())
        if not dry_run:
            return sweep() | {"state": "queued"}
        total = {
            "wall_seconds": 7200.0,
            "gpu_seconds": 14400.0,
            "parallel": 2,
            "disk_bytes": 9000,
            "basis": "arithmetic",
        }
        runs = [{"number": n, "overrides": {"seed": n}} for n in (1, 2)]
        return {"dataset": "photos@1", "varied": ["seed"], "runs": runs, "warnings": [], "estimate": total}

    @app.get("/v1/sweeps/{id}")
    def get(id: str) -> Any:
        return sweep(id) if id != "nope" else problem(404, "not_found", "there is no sweep nope")

    @app.get("/v1/sweeps")
    def sweeps() -> Any:
        return {"items": [sweep()], "next_page_token": None}

    @app.post("/v1/sweeps/{id}/cancel")
    def cancel(id: str) -> Any:
        return sweep(id) | {"state": "cancelled"}
