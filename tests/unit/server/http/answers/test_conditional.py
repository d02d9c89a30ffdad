import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from httpx import ASGITransport, AsyncClient, Response

from server.http.answers.conditional import Conditional
from server.http.answers.etags import expected_version

app = FastAPI()
app.add_middleware(Conditional)


@app.get("/thing")
def thing(said: str = "a") -> Any:
    return {"said": said}


@app.get("/row")
def row(said: str = "a") -> Any:
    return JSONResponse({"said": said}, headers={"ETag": '"7"'})


@app.get("/file")
def file() -> Any:
    return JSONResponse({}, headers={"ETag": '"sha256-of-it"'})


@app.get("/text")
def text() -> Any:
    return PlainTextResponse("{}")


@app.get("/stream")
def stream() -> Any:
    return StreamingResponse(iter(["[1", ",2]"]), media_type="application/json")


@app.get("/refused")
def refused() -> Any:
    return JSONResponse({}, 404)


@app.post("/thing")
def made() -> Any:
    return {}


def ask(path: str, headers: Mapping[str, str] = {}, method: str = "GET") -> Response:
    async def send() -> Response:
        async with AsyncClient(transport=ASGITransport(app), base_url="http://here") as client:
            return await client.request(method, path, headers=dict(headers))

    return asyncio.run(send())


@pytest.mark.parametrize("path", ["/thing", "/row"])
def test_what_the_caller_has_is_not_sent_again(path: str) -> None:
    first = ask(path)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    for known in (tag, f'"other", W/{tag}', "*"):
        again = ask(path, {"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert "content-length" not in again.headers
    assert ask(path, {"If-None-Match": '"other"'}).json() == {"said": "a"}
    assert ask(f"{path}?said=b").headers["etag"] != tag
    assert ask(f"{path}?said=b", {"If-None-Match": tag}).json() == {"said": "b"}


def test_the_version_of_a_row_stays_readable() -> None:
    assert expected_version(ask("/row").headers["etag"]) == 7


@pytest.mark.parametrize(
    ("method", "path", "tag"),
    [
        *[("GET", "/file", '"sha256-of-it"'), ("GET", "/text", None), ("GET", "/stream", None)],
        *[("GET", "/refused", None), ("POST", "/thing", None), ("GET", "/nowhere", None)],
    ],
)
def test_everything_else_passes_as_it_is(method: str, path: str, tag: str | None) -> None:
    answer = ask(path, {"If-None-Match": "*"}, method)
    assert answer.status_code != 304
    assert answer.headers.get("etag") == tag
    assert answer.content
