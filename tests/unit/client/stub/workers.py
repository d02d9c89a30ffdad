"""Workers."""

from typing import Any

from fastapi import FastAPI, Request

from tests.unit.client.stub.state import MADE, State


def add_workers(app: FastAPI, state: State) -> None:
    held = {"run": "run_1", "leased_at": MADE["created_at"], "holder": None, "set_aside": None}
    slot = {"uuid": "GPU-1", "purpose": "train", "is_gpu": True, "name": "H100", "memory": 80, **held}
    known = {"host": "here", "pid": 1, "software": "0.1", "preempting": False, "roots": ["/data"], "slots": [slot]}
    seen = {"seen_at": MADE["created_at"], "heartbeat_age": 3.0, "looked_at": None}
    worker = {**MADE, "id": "wkr_1", "state": "active", **known, **seen}

    @app.get("/v1/workers")
    def list_workers() -> Any:
        return {"items": [worker], "next_page_token": None}

    @app.get("/v1/workers/{id}")
    @app.post("/v1/workers/{id}/undrain")
    def get_worker(id: str) -> Any:
        return worker

    @app.post("/v1/workers/{id}/drain")
    async def drain(id: str, request: Request) -> Any:
        state.bodies.append(await request.json())
        return worker | {"state": "draining"}
