"""Tokens, their quotas and what their jobs have taken."""

from typing import Any

from fastapi import FastAPI, Request

from tests.unit.client.stub.state import MADE, State


def add_tokens(app: FastAPI, state: State) -> None:
    token: dict[str, Any] = {**MADE, "id": "tok_1", "name": "ci", "prefix": "dt_", "scopes": ["read"]}
    token |= {"models": ["detector"], "expires_at": None, "revoked_at": None, "last_used_at": None, "replaces": None}

    @app.post("/v1/tokens", status_code=201)
    async def create(request: Request) -> Any:
        body = await request.json()
        state.bodies.append(body)
        return token | body | {"id": "tok_2", "token": "dt_the_secret"}

    @app.get("/v1/tokens")
    def tokens() -> Any:
        return {"items": [token], "next_page_token": None}

    @app.get("/v1/tokens/{id}/quota")
    @app.put("/v1/tokens/{id}/quota")
    async def quota(request: Request) -> Any:
        bounds = {"running": None, "slots": None, "queued": None, "images": None, "pixels_per_second": None}
        bounds |= await request.json() if request.method == "PUT" else {}
        return {"quota": bounds, "used": {"running": 1, "slots": 1, "queued": 0}}

    @app.get("/v1/tokens/{id}")
    def get_token(id: str) -> Any:
        return token

    @app.post("/v1/tokens/{id}/rotate", status_code=201)
    async def rotate(id: str, request: Request) -> Any:
        state.bodies.append(await request.json())
        return token | {"id": "tok_2", "token": "dt_the_secret", "replaces": id}

    @app.delete("/v1/tokens/{id}", status_code=204)
    def revoke(id: str) -> None:
        state.bodies.append(f"revoked {id}")

    @app.get("/v1/usage")
    def usage(by: str, since: str | None = None) -> Any:
        state.bodies.append((by, since))
        row = {"key": None, "jobs": 3, "attempts": 4, "gpu_seconds": 7200.0, "cpu_seconds": None, "bytes": 5_000_000}
        return {"items": [row], "next_page_token": None}
