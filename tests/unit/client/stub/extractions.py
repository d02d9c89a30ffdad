"""Extractions and their files."""

import hashlib
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from tests.unit.client.stub.runs import run
from tests.unit.client.stub.state import State

FILE = b"{}"


def extraction(id: str, state: str = "completed", **more: Any) -> dict[str, Any]:
    broken = [{"path": f"[{n}].jpg", "reason": "it is torn"} for n in range(12)]
    report = {
        "images": 18,
        "broken": 12,
        "broken_images": broken,
        "shards": 2,
        "bytes": 4096,
        "index": {"path": "index.json"},
    }
    asked = {"model": "backbone:1", "options": {"pool": "avg"}, "licenses": {"data set photos@1": "CC0"}}
    return {**run(id, state), **asked, "estimate": {"bytes": 5000}, "report": report, **more}


def add_extractions(app: FastAPI, state: State) -> None:
    @app.post("/v1/extractions", status_code=202)
    async def extract(request: Request, dry_run: bool = False) -> Any:
        state.bodies.append(await request.json())
        if dry_run:
            return JSONResponse({"estimate": {"bytes": 4096, "basis": "arithmetic"}, "fits": True})
        return extraction("xtr_1")

    @app.get("/v1/extractions")
    def extractions() -> Any:
        return {"items": [extraction("xtr_1"), extraction("xtr_2", report=None)], "next_page_token": None}

    @app.get("/v1/extractions/{id}")
    def extraction_of(id: str) -> Any:
        return extraction(id)

    @app.post("/v1/extractions/{id}/{action}")
    def act_on_extraction(id: str, action: str) -> Any:
        states = {"cancel": "cancelled", "pause": "pausing", "resume": "queued", "kill": "cancelled"}
        return extraction(id, state=states[action])

    @app.delete("/v1/extractions/{id}")
    def delete_extraction(id: str) -> Any:
        return {"id": id, "bytes": 4096, "derived": [], "dry_run": True}

    @app.get("/v1/extractions/{id}/files")
    def files_of(id: str) -> Any:
        digest = "sha256:" + hashlib.sha256(FILE).hexdigest()
        return {"items": [{"path": "index.json", "bytes": len(FILE), "sha256": digest}], "next_page_token": None}

    @app.get("/v1/extractions/{id}/files/{path}")
    def file_of(id: str, path: str) -> Any:
        return Response(FILE, media_type="application/octet-stream")
