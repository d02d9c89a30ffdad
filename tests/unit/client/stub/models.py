"""Models, versions, aliases and pins."""

from typing import Any

from fastapi import FastAPI, Request

from tests.unit.client.stub.state import MADE, State, problem


def model_version(state: State, number: int = 1) -> dict[str, Any]:
    files = {name: {"bytes": len(state.file), "sha256": state.sha256} for name in ("onnx", "torchvision", "manifest")}
    levels = [{"name": "res2", "channels": 64, "stride": 4}]
    return {
        **MADE,
        "id": f"mv_{number}",
        "model": "detector",
        "version": number,
        "ref": f"detector:{number}",
        "state": "ready",
        "reason": None,
        "files": files,
        "weights_digest": "sha256:feed",
        "manifest": {"architecture": "resnet18", "levels": levels},
        "parity": {"onnx": {"relative_error": 1.5e-7}},
        "lineage": {"run": "run_1"},
        "license": None,
        "aliases": ["production"],
    }


def add_models(app: FastAPI, state: State) -> None:
    @app.post("/v1/models/{name}/versions", status_code=202)
    async def export(name: str, request: Request) -> Any:
        state.bodies.append(await request.json())
        return model_version(state) | {"state": "exporting", "manifest": None, "files": None, "parity": None}

    @app.get("/v1/models/{name}/versions/{number}")
    def version(name: str, number: int) -> Any:
        return model_version(state, number)

    @app.get("/v1/models/{name}/versions")
    def versions(name: str) -> Any:
        return {"items": [model_version(state)], "next_page_token": None}

    @app.get("/v1/models")
    def models() -> Any:
        item = {**MADE, "id": "model_1", "name": "detector", "latest_version": 1, "aliases": {"production": 1}}
        return {"items": [item], "next_page_token": None}

    @app.put("/v1/models/{name}/aliases/{alias}")
    async def promote(name: str, alias: str, request: Request) -> Any:
        if request.headers.get("if-match", '"1"') != '"1"':
            return problem(412, "alias_moved", "the alias has moved")
        return {"model": name, "alias": alias, "version": (await request.json())["version"], "etag": '"2"'}

    @app.put("/v1/models/{name}/versions/{number}/pins/{consumer}")
    @app.delete("/v1/models/{name}/versions/{number}/pins/{consumer}")
    def pin() -> Any:
        return {}

    @app.delete("/v1/models/{id}/aliases/{alias}", status_code=204)
    def remove_alias() -> None:
        pass
