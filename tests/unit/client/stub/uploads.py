"""Uploads, which may break off."""

import hashlib
from typing import Any

from fastapi import FastAPI, Request

from tests.unit.client.stub.state import MADE, State, problem


def add_uploads(app: FastAPI, state: State) -> None:
    """An upload that was begun before, and breaks off or was taken further when `cut_after` says so."""
    upload: dict[str, Any] = {}

    @app.get("/v1/uploads")
    def uploads(sha256: str = "") -> Any:
        return {"items": [upload] if upload.get("sha256") == sha256 else [], "next_page_token": None}

    @app.get("/v1/uploads/{id}")
    def show(id: str) -> Any:
        return upload

    @app.post("/v1/uploads", status_code=201)
    async def announce(request: Request) -> Any:
        asked = await request.json()
        state.bodies.append(asked)
        state.file = b""
        own = {"id": "upl_1", "uri": "upload:upl_1", "state": "receiving", "received": 0, "reason": None}
        upload.update(MADE | asked | own)
        return upload

    @app.put("/v1/uploads/{id}")
    async def take(id: str, request: Request) -> Any:
        part, span = await request.body(), request.headers["content-range"]
        if part and int(span.split()[1].partition("-")[0]) != len(state.file):
            return problem(409, "other_offset", "elsewhere", received=len(state.file))
        state.file += part[: state.cut_after.pop(0)] if state.cut_after else part
        whole = len(state.file) == upload["bytes"]
        right = hashlib.sha256(state.file).hexdigest() == upload["sha256"]
        upload.update(received=len(state.file), state=("ready" if right else "failed") if whole else "receiving")
        return upload
