"""A small service that speaks the API over real sockets, with faults that tests switch on."""

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.datastructures import UploadFile
from starlette.types import ASGIApp, Receive, Scope, Send

from detco_client import download, stream, transport, waiting

MADE = {"created_at": "2026-01-02T03:04:05Z", "created_by": "tester"}
PROGRESS = {"step": 3, "steps": 20, "epoch": 1.5, "epochs": 10.0, "images_per_second": 21.3, "data_wait": 0.2}


@dataclass
class State:
    """What the service has, what it was asked, and what it is to do wrong."""

    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    refuse: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Answers given, in order, before any real one."""
    events: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    drop_after: list[int] = field(default_factory=list)
    """How many events each connection carries before it breaks; connections behind the list are whole."""
    file: bytes = bytes(range(256)) * 64
    sha256: str = ""
    cut_after: list[int] = field(default_factory=list)
    """How many bytes of the file each answer carries before it breaks."""
    ranges: bool = True

    def headers(self, path: str) -> list[dict[str, str]]:
        return [headers for _, asked, headers in self.requests if asked.split("?")[0] == path]


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


def dataset(name: str, **more: Any) -> dict[str, Any]:
    shared = {"state": "ready", "reason": None, "digest": "sha256:ab"} | more
    counts = {"images": 40, "bytes": 123456, "labels": {}, "broken": [{"path": "a/[b].jpg", "reason": "truncated"}]}
    counts["statistics"] = {"1": {"images": 40, "mean": [0.5], "std": [0.25], "bit_depth": 16}}
    own = {**MADE, "id": f"ds_{name}", "name": name, "version": 1, "ref": f"{name}@1", "kind": "images"}
    return {**own, "uri": "/data", "root": "/data", "license": None, **counts, **shared}


def weights(id: str = "wts_1", **more: Any) -> dict[str, Any]:
    named = {"name": "official", "uri": "/w.pth", "architecture": "resnet50", "format": "detco", "license": None}
    report = {"matched": ["conv1.weight"], "missing": [], "unexpected": [f"head.{n}" for n in range(9)]}
    found = {"digest": "sha256:ab", "file": {"bytes": 9, "sha256": "sha256:cd"}, "report": report}
    return {**MADE, "id": id, "state": "ready", "reason": None, "job": "run_9", **named, **found, **more}


def evaluation(id: str, **more: Any) -> dict[str, Any]:
    report = {"task": "knn", "protocol": "one sentence", "scores": {"top1": 61.25}, "details": {}}
    found = {"task": "knn", "source": {"weights": "random"}, "options": {}, "report": report}
    return run(id, "completed") | found | more


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


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None, **more: Any) -> JSONResponse:
    document = {"status": status, "code": code, "title": code, "detail": detail, "errors": [], "request_id": "req_7"}
    return JSONResponse(document | more, status, headers, media_type="application/problem+json")


class Gate:
    """Notes each request, checks the token, and refuses as the test asks. Plain ASGI: bodies pass untouched."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self.app = app
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        self.state.requests.append((request.method, str(request.url).split("/", 3)[-1], dict(request.headers)))
        answer: ASGIApp = self.app
        if request.url.path.startswith("/v1") and request.headers.get("authorization") != "Bearer secret":
            answer = problem(401, "unauthenticated", "no such token")
        elif self.state.refuse:
            status, headers = self.state.refuse.pop(0)
            answer = problem(status, "too_many_requests" if status == 429 else "unavailable", "not now", headers)
        await answer(scope, receive, send)


def make_app(state: State) -> FastAPI:
    app = FastAPI()

    app.add_middleware(Gate, state=state)
    add_jobs(app, state)
    add_sweeps(app, state)
    add_files(app, state)
    add_uploads(app, state)
    add_rest(app, state)
    return app


def add_jobs(app: FastAPI, state: State) -> None:
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


def add_files(app: FastAPI, state: State) -> None:
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

    @app.delete("/v1/models/{id}/aliases/{alias}", status_code=204)
    def remove_alias() -> None:
        pass

    @app.get("/v1/store")
    def store() -> Any:
        damaged = {"sha256": "ab", "bytes": 1, "detail": "other bytes", "needed_by": ["checkpoint ckpt_1 of run run_1"]}
        return {"stored": {"count": 7, "bytes": 2048}, "going": {"count": 0, "bytes": 0}, "damaged": [damaged]}

    @app.post("/v1/store/sweep")
    def orphans(dry_run: bool = False) -> Any:
        return {"dry_run": dry_run, "older_than_hours": 24.0, "count": 2, "bytes": 10}

    @app.get("/v1/runs/{id}/checkpoints/{checkpoint}/file")
    def checkpoint_file(request: Request) -> Response:
        return piece(request)

    @app.get("/v1/models/{name}/versions/{version}/files/{format}")
    def model_file(request: Request) -> Response:
        return piece(request)

    def piece(request: Request) -> Response:
        start, status, headers = 0, 200, {}
        if state.ranges and (asked := request.headers.get("range")):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(state.file):
                return problem(416, "range_not_satisfiable", "the file is shorter")
            status, headers = 206, {"content-range": f"bytes {start}-{len(state.file) - 1}/{len(state.file)}"}
        body = state.file[start:]
        headers["content-length"] = str(len(body))
        return StreamingResponse(broken(body), status, headers)

    def broken(body: bytes) -> Iterator[bytes]:
        if not state.cut_after:
            yield body
            return
        yield body[: state.cut_after.pop(0)]
        raise ConnectionError("cut on purpose")


def add_rest(app: FastAPI, state: State) -> None:
    @app.get("/v1/info")
    def info() -> Any:
        return {"version": "0.1.0", "presets": ["smoke"], "tasks": ["knn"]}

    @app.get("/readyz")
    def ready() -> Any:
        return {"ready": True}

    @app.get("/v1/metrics-of-nothing")
    def html() -> Response:
        return PlainTextResponse("<html>a proxy's page</html>", 502)

    @app.post("/v1/datasets", status_code=202)
    async def add(request: Request) -> Any:
        body = await request.json()
        state.bodies.append(body)
        if not body["uri"].startswith("/"):
            return problem(422, "outside_roots", f"{body['uri']} is outside the allowed roots")
        return dataset(body["name"], state="scanning", digest=None)

    @app.get("/v1/datasets/{name}")
    def get_dataset(name: str) -> Any:
        return dataset(name) if name != "empty" else dataset(name, state="failed", reason="no image in it")

    @app.get("/v1/datasets/{name}/usage")
    def dataset_usage(name: str) -> Any:
        user = {**MADE, "id": "run_1", "name": "first", "state": "completed", "dataset": "photos@1"}
        model = {"model": "detector", "version": 1, "ref": "detector:1", "run": "run_1"}
        used: dict[str, Any] = {"runs": [user], "evaluations": [], "extractions": [], "models": [model]}
        return used | {"name": name, "versions": ["photos@1"], "counts": {"runs": 1}, "bytes": 12000}

    @app.delete("/v1/datasets/{name}")
    @app.delete("/v1/datasets/{name}/versions/{number}")
    def delete_dataset(name: str, number: int = 0, dry_run: bool = False) -> Any:
        id = f"{name}@{number}" if number else name
        return {"id": id, "dry_run": dry_run, "derived": ["run run_1"], "bytes": 12000}

    @app.post("/v1/datasets/{name}/versions", status_code=202)
    async def rescan(name: str, request: Request) -> Any:
        state.bodies.append(await request.json())
        return dataset(name, state="scanning", digest=None)

    @app.get("/v1/datasets")
    def datasets() -> Any:
        return {"items": [dataset("photos")], "next_page_token": None}

    @app.post("/v1/weights", status_code=202)
    async def bring_in(request: Request) -> Any:
        state.bodies.append(body := await request.json())
        if body["uri"].endswith(".txt"):
            return weights("wts_bad", state="checking", report=None)
        return weights(state="checking", digest=None, file=None, report=None)

    @app.get("/v1/weights/{id}")
    def get_weights(id: str) -> Any:
        if id == "wts_bad":
            return weights(id, state="failed", reason="it is text", report=None)
        return weights() if id in ("wts_1", "official") else problem(404, "not_found", f"there is no weights {id}")

    @app.get("/v1/weights")
    def all_weights() -> Any:
        return {"items": [weights()], "next_page_token": None}

    @app.delete("/v1/weights/{id}")
    def delete_weights(id: str, dry_run: bool = False) -> Any:
        if id == "wts_held":
            return problem(409, "in_use", "weights wts_held is held by run run_1", holders=["run run_1"])
        return {"id": id, "dry_run": dry_run, "derived": ["run run_1"], "bytes": 9}

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

    @app.post("/v1/features")
    async def features(request: Request) -> Response:
        if "multipart" not in request.headers["content-type"]:
            state.bodies.append(dict(request.query_params))
            return tensors_of([await request.body()], True, state.bodies[-1])
        async with request.form() as form:
            raw = [await part.read() for part in form.getlist("image") if isinstance(part, UploadFile)]
            state.bodies.append(json.loads(str(form["request"])))
        return tensors_of(raw, False, state.bodies[-1])

    token: dict[str, Any] = {**MADE, "id": "tok_1", "name": "ci", "prefix": "dt_", "scopes": ["read"]}
    token |= {"models": ["detector"], "expires_at": None, "revoked_at": None, "last_used_at": None, "replaces": None}

    @app.get("/v1/usage")
    def usage(by: str, since: str | None = None) -> Any:
        state.bodies.append((by, since))
        row = {"key": None, "jobs": 3, "attempts": 4, "gpu_seconds": 7200.0, "cpu_seconds": None, "bytes": 5_000_000}
        return {"items": [row], "next_page_token": None}

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

    webhooks(app, state)
    workers(app, state)

    @app.delete("/v1/tokens/{id}", status_code=204)
    def revoke(id: str) -> None:
        state.bodies.append(f"revoked {id}")


def workers(app: FastAPI, state: State) -> None:
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


def webhooks(app: FastAPI, state: State) -> None:
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


def tensors_of(raw: Sequence[bytes], single: bool, asked: dict[str, Any]) -> Response:
    """A reply whose every tensor holds the length of its picture."""
    levels = asked.get("levels", "res5")
    names = levels.split(",") if isinstance(levels, str) else levels
    outputs, data, images = [], b"", []
    for index, picture in enumerate(raw):
        broken = picture.startswith(b"broken")
        images.append({"original": [2, 3], "error": {"code": "unreadable", "detail": "no picture"} if broken else None})
        for level in () if broken else names:
            array = np.full((1, 2, 2, 3), len(picture), "<f4")
            parameters = {"binary_data_size": array.nbytes, "level": level, "image": index, "stride": 32}
            name = level if single else f"{index}/{level}"
            outputs.append({"name": name, "datatype": "FP32", "shape": [1, 2, 2, 3], "parameters": parameters})
            data += array.tobytes()
    meta = json.dumps({"model": "detector", "version": 1, "outputs": outputs, "images": images}).encode()
    headers = {"Inference-Header-Content-Length": str(len(meta))}
    return Response(meta + data, headers=headers, media_type="application/octet-stream")


@dataclass
class Service:
    url: str
    state: State


@pytest.fixture(scope="session")
def running() -> Iterator[Service]:
    state = State()
    config = uvicorn.Config(make_app(state), host="127.0.0.1", port=0, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Service(f"http://127.0.0.1:{port}", state)
    server.should_exit = True
    thread.join(5)


@pytest.fixture
def service(running: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Service:
    """The service as new, named by the environment; pauses are short."""
    running.state.__init__()  # type: ignore[misc] # every field back to its default
    running.state.sha256 = "sha256:" + hashlib.sha256(running.state.file).hexdigest()
    for variable in ("DETCO_TOKEN_FILE", "DETCO_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DETCO_URL", running.url)
    monkeypatch.setenv("DETCO_TOKEN", "secret")
    monkeypatch.setattr(transport, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(stream, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "PAUSE_SECONDS", 0.0)
    return running
