"""Files to download, which may break off."""

from collections.abc import Iterator

from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse

from tests.unit.client.stub.state import State, problem


def add_files(app: FastAPI, state: State) -> None:
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
