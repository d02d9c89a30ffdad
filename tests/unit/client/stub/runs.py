"""Runs: submitted, found, steered, and what they say."""

import json
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse

from tests.unit.client.stub.state import MADE, State, problem

PROGRESS = {"step": 3, "steps": 20, "epoch": 1.5, "epochs": 10.0, "images_per_second": 21.3, "data_wait": 0.2}


def run(id: str, state: str = "running", **more: Any) -> dict[str, Any]:
    return {
        **MADE,
        "id": id,
        "name": f"name of {id}",
        "state": state,
        "desired_state": "run",
        "reason": None,
        "attempt": 1,
        "progress": {**PROGRESS, "eta_seconds": 240.0},
        "queue_position": None,
        "waiting_reason": None,
        "available_actions": ["cancel", "pause", "kill", "finish"],
        "dataset": "photos@1",
        "config": {"preset": "smoke"},
        "metrics": {"loss": 50.5, "loss/g2g/res2": 6.1, "loss/l2g/res5": 11.25},
        "warnings": [],
        "init": None,
        "forked_from": None,
        **more,
    }


def add_runs(app: FastAPI, state: State) -> None:
    @app.post("/v1/runs", status_code=202)
    async def submit(request: Request, dry_run: bool = False) -> Any:
        body = await request.json()
        state.bodies.append(body)
        unknown = [key for key in body["overrides"] if key not in ("train.steps", "seed")]
        if unknown:
            errors = [{"path": f"overrides.{key}", "detail": "unknown key"} for key in unknown]
            return problem(422, "invalid_document", "overrides are not valid", errors=errors)
        if dry_run:
            return {"config": body, "warnings": [], "deviations": [], "estimate": {}}
        key = request.headers["idempotency-key"]
        id = state.keys.setdefault(key, f"run_{len(state.runs) + 1}")
        return state.runs.setdefault(id, run(id, "queued", waiting_reason="dataset_scanning", progress=None))

    @app.get("/v1/runs")
    def runs(page_token: int = 0, page_size: int = 2) -> Any:
        items, start = list(state.runs.values()), page_token
        more = start + page_size < len(items)
        return {"items": items[start : start + page_size], "next_page_token": str(start + page_size) if more else None}

    @app.get("/v1/runs/{id}")
    def get(id: str) -> Any:
        return state.runs.get(id) or problem(404, "not_found", f"there is no run {id}")

    @app.post("/v1/runs/{id}/fork", status_code=202)
    async def fork(id: str, request: Request, dry_run: bool = False) -> Any:
        body = await request.json()
        state.bodies.append(body)
        if dry_run:
            return {"config": body, "warnings": [], "deviations": [], "estimate": {}}
        forked = {"run": id, "checkpoint": "ckpt_20", "carry": body["carry"]}
        return state.runs.setdefault("run_fork", run("run_fork", "queued", forked_from=forked))

    @app.post("/v1/runs/actions")
    async def act_on_many(request: Request) -> Any:
        body = await request.json()
        state.bodies.append(body)
        to = {"cancel": "cancelled", "pause": "paused"}.get(body["action"], "completed")
        found = {"problem": None, "ok": True, "state": to, "desired_state": body["action"]}
        return {"items": [{**found, "id": id} for id in body.get("ids", ["run_1"])], "left": 0}

    @app.patch("/v1/runs/{id}")
    async def change(id: str, request: Request) -> Any:
        state.bodies.append(await request.json())
        return state.runs[id]

    @app.get("/v1/runs/{id}/attempts")
    def attempts(id: str) -> Any:
        how = {"state": "lost", "reason": "it had hung", "cause": "idle", "exit_code": None, "signal": "SIGKILL"}
        when = {"started_at": MADE["created_at"], "ended_at": MADE["created_at"], "seconds": 90.0}
        return {"items": [{**MADE, "id": "att_1", "number": 1, "host": "a", **how, **when}], "next_page_token": None}

    @app.post("/v1/runs/{id}/{action}")
    async def act(id: str, action: str, request: Request) -> Any:
        sent = await request.body()
        if action == "resume" and sent and json.loads(sent).get("gpus"):
            return state.runs[id] | {"state": "queued"}
        if action == "resume":
            detail = "a running run cannot resume; it can pause"
            return problem(409, "illegal_move", detail, available_actions=["pause"])
        state.runs[id]["state"] = {"cancel": "cancelled", "pause": "paused"}.get(action, "completed")
        return state.runs[id]


def add_journals(app: FastAPI, state: State) -> None:
    @app.get("/v1/runs/{id}/events")
    async def events(id: str, request: Request) -> StreamingResponse:
        return StreamingResponse(sse(state, request), media_type="text/event-stream")

    @app.get("/v1/metrics")
    def metrics(request: Request) -> Any:
        return {"items": [{"run": id, "key": "loss", "steps": [20]} for id in request.query_params.getlist("run")]}

    @app.get("/v1/runs/{id}/metrics/summary")
    def summary(id: str) -> Any:
        return {
            "items": [{"key": k, "step": 3, "value": 50.5, "lowest": 50.5, "highest": 60.0} for k in ("loss", "lr")]
        }

    @app.get("/v1/runs/{id}/logs")
    async def logs(id: str, request: Request) -> Response:
        if request.headers["accept"] == "text/event-stream":
            return StreamingResponse(sse(state, request), media_type="text/event-stream")
        return PlainTextResponse("step 1\nstep 2\n")


async def sse(state: State, request: Request) -> Any:
    after = int(request.headers.get("last-event-id", "-1"))
    left = state.drop_after.pop(0) if state.drop_after else None
    yield ": heartbeat\n\n"
    for id, name, data in state.events:
        if id <= after:
            continue
        if left == 0:
            raise ConnectionError("dropped on purpose")
        left = None if left is None else left - 1
        yield f"id: {id}\nevent: {name}\ndata: {json.dumps(data)}\n\n"
    if left is not None:
        return  # closed in good order, and yet not the end
    yield 'event: end\ndata: {"state": "completed"}\n\n'
