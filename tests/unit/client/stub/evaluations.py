"""Evaluations."""

from typing import Any

from fastapi import FastAPI, Request

from tests.unit.client.stub.runs import run
from tests.unit.client.stub.state import State


def evaluation(id: str, **more: Any) -> dict[str, Any]:
    report = {"task": "knn", "protocol": "one sentence", "scores": {"top1": 61.25}, "details": {}}
    found = {"task": "knn", "source": {"weights": "random"}, "options": {}, "report": report}
    return run(id, "completed") | found | more


def add_evaluations(app: FastAPI, state: State) -> None:
    @app.post("/v1/evaluations", status_code=202)
    async def evaluate(request: Request, dry_run: bool = False) -> Any:
        state.bodies.append(await request.json())
        if dry_run:
            return state.bodies[-1] | {"estimate": {"seconds": 90.0, "basis": "measured"}}
        return evaluation("eval_1", state="queued")

    @app.get("/v1/evaluations/compare")
    def compare(request: Request) -> Any:
        return {"items": [evaluation(id) for id in request.query_params.getlist("id")], "groups": []}

    @app.get("/v1/evaluations/{id}")
    def get_evaluation(id: str) -> Any:
        return evaluation(id)

    @app.get("/v1/evaluations")
    def evaluations() -> Any:
        return {"items": [evaluation("eval_1"), evaluation("eval_2", report=None)], "next_page_token": None}
