"""Webhooks and their deliveries."""

from typing import Any

from fastapi import FastAPI, Request

from tests.unit.client.stub.state import MADE, State


def add_webhooks(app: FastAPI, state: State) -> None:
    asked = {"id": "whk_1", "url": "https://example.org/", "events": ["run.*"], "description": None}
    known = {"enabled": False, "disabled_reason": "it is gone", "failing_since": None, "delivered_at": None}
    webhook = {**MADE, **asked, **known, "rotated_at": None}
    attempt = {"status": 500, "error": None, "milliseconds": 3, "answer": "no", "time": MADE["created_at"]}
    sent = {"id": "dlv_1", "webhook": "whk_1", "event": "evt_1", "type": "run.failed", "attempts": [attempt]}
    kept = {"tries": 1, "created_at": MADE["created_at"], "due_at": None, "delivered_at": None, "payload": {}}
    delivery = {**sent, **kept, "state": "failed"}

    @app.get("/v1/webhooks")
    def list_webhooks() -> Any:
        return {"items": [webhook], "next_page_token": None}

    @app.post("/v1/webhooks", status_code=201)
    @app.patch("/v1/webhooks/whk_1")
    async def make(request: Request) -> Any:
        state.bodies.append(await request.json())
        return webhook | state.bodies[-1] | {"secret": "whsec_shown"}

    @app.post("/v1/webhooks/whk_1/rotate")
    def rotate() -> Any:
        return webhook | {"secret": "whsec_anew"}

    @app.get("/v1/webhooks/whk_1/deliveries")
    def log(state: str | None = None) -> Any:
        return {"items": [delivery] if state in (None, "failed") else [], "next_page_token": None}

    @app.post("/v1/webhooks/whk_1/test", status_code=202)
    @app.post("/v1/webhooks/whk_1/deliveries/dlv_1/redeliver", status_code=202)
    @app.get("/v1/webhooks/whk_1/deliveries/dlv_1")
    def send() -> Any:
        return delivery

    @app.get("/v1/webhooks/whk_1")
    def show() -> Any:
        return webhook

    @app.delete("/v1/webhooks/whk_1", status_code=204)
    def delete() -> None:
        state.bodies.append("deleted")
