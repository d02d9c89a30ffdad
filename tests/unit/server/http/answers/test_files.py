"""Ranges against a slow reference: the bytes a file would give, cut by hand."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response

from server.http.answers.files import StoredFile, send_file, wanted_range
from server.http.errors import handlers
from server.http.problems import Problem

CONTENT = bytes(range(100))
DIGEST = "sha256:" + "0" * 64


def opener(start: int, end: int) -> Iterator[bytes]:
    for position in range(start, end, 7):
        yield CONTENT[position : min(end, position + 7)]


@pytest.fixture(scope="module")
def client(serve: Callable[[FastAPI], httpx.Client]) -> httpx.Client:
    app = FastAPI()
    handlers.install(app)

    @app.get("/file")
    def file(request: Request) -> Response:
        return send_file(request, StoredFile("a.bin", len(CONTENT), DIGEST, "application/octet-stream", opener))

    return serve(app)


def test_whole_file(client: httpx.Client) -> None:
    answer = client.get("/file")
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["etag"] == f'"{DIGEST}"'
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"] == 'attachment; filename="a.bin"'


@pytest.mark.parametrize(
    ("header", "expected", "content_range"),
    [
        ("bytes=0-0", CONTENT[:1], "bytes 0-0/100"),
        ("bytes=10-19", CONTENT[10:20], "bytes 10-19/100"),
        ("bytes=90-", CONTENT[90:], "bytes 90-99/100"),
        ("bytes=90-500", CONTENT[90:], "bytes 90-99/100"),
        ("bytes=-5", CONTENT[-5:], "bytes 95-99/100"),
        ("bytes=-500", CONTENT, "bytes 0-99/100"),
    ],
)
def test_one_range(client: httpx.Client, header: str, expected: bytes, content_range: str) -> None:
    answer = client.get("/file", headers={"Range": header})
    assert (answer.status_code, answer.content) == (206, expected)
    assert answer.headers["content-range"] == content_range
    assert answer.headers["content-length"] == str(len(expected))


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "lines=1-2", "bytes=9-3", "bytes=-", "bytes=a-b", "nonsense"])
def test_what_is_not_one_range_gives_the_whole(client: httpx.Client, header: str) -> None:
    answer = client.get("/file", headers={"Range": header})
    assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=9999999999999999999-"])
def test_a_range_behind_the_end_is_416(client: httpx.Client, header: str) -> None:
    answer = client.get("/file", headers={"Range": header})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == "bytes */100"


def test_conditions(client: httpx.Client) -> None:
    etag = f'"{DIGEST}"'
    assert client.get("/file", headers={"If-None-Match": f'"x", {etag}'}).status_code == 304
    assert client.get("/file", headers={"If-None-Match": f"W/{etag}"}).status_code == 304
    assert client.get("/file", headers={"If-None-Match": "*"}).status_code == 304
    assert client.get("/file", headers={"If-None-Match": '"x"'}).status_code == 200
    assert client.get("/file", headers={"Range": "bytes=0-1", "If-Range": etag}).status_code == 206
    assert client.get("/file", headers={"Range": "bytes=0-1", "If-Range": f"W/{etag}"}).status_code == 200
    assert client.get("/file", headers={"Range": "bytes=0-1", "If-Range": '"other"'}).status_code == 200


@given(size=st.integers(0, 300), first=st.none() | st.integers(0, 400), last=st.none() | st.integers(0, 400))
def test_ranges_select_what_slices_select(size: int, first: int | None, last: int | None) -> None:
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    content = list(range(size))
    if first is None:
        expected = content[-last:] if last else []
    else:
        expected = content[first:] if last is None else content[first : last + 1]
    ignored = (first is None and last is None) or (first is not None and last is not None and last < first)
    if not expected and not ignored:
        with pytest.raises(Problem, match=f"{size} bytes"):
            wanted_range(header, size)
        return
    span = wanted_range(header, size)
    assert (span is None) == ignored
    assert span is None or content[span[0] : span[1]] == expected
