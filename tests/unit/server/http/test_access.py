"""The access log: a line of JSON for every request, and no secret in it."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request

from control.errors import Conflict, SettingsError
from server.http.access import AccessLog, note, open_access_log
from server.http.errors import handlers
from server.http.middleware.context import RequestContext
from server.telemetry import Telemetry
from tests.log_lines import json_lines, lines_of

SECRET = "detco_" + "s" * 43


def who(request: Request) -> str:
    note(request.scope, token="tok_1")
    return "tok_1"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs") / "access.jsonl"


@pytest.fixture(scope="module")
def client(log: Path, serve: Callable[[FastAPI], httpx.Client]) -> Iterator[httpx.Client]:
    app = FastAPI()

    @app.post("/things/{name}")
    async def thing(name: str, request: Request, _: Annotated[str, Depends(who)]) -> int:
        return len(await request.body())

    @app.get("/refused")
    def refused() -> None:
        raise Conflict("not now")

    @app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError

    handlers.install(app)
    access = open_access_log(str(log))
    app.add_middleware(RequestContext, telemetry=Telemetry(), access=access)
    yield serve(app)
    access.close()


def line(log: Path, request_id: str | None = None) -> dict[str, Any]:
    """The last one; that of a request, which may come a moment after its answer."""
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        found = json_lines(log)[-1:]
        if found and request_id in (None, found[0].get("request_id")):
            return found[0]
        time.sleep(0.005)
    raise AssertionError(f"there is no line of {request_id}")


def test_a_request_is_a_line_that_says_who_what_and_how(client: httpx.Client, log: Path) -> None:
    given = {"Authorization": f"Bearer {SECRET}", "X-Request-Id": "mine"}
    assert client.post(f"/things/{SECRET}", content=b"x" * 77, headers=given).json() == 77
    found = line(log, "mine")
    assert found.pop("ms") > 0
    assert found.pop("time").endswith("+00:00")
    assert SECRET not in log.read_text()
    assert found.pop("path").startswith("/things/detco_ssss***")
    assert found == {
        "request_id": "mine",
        "method": "POST",
        "route": "/things/{name}",
        "status": 200,
        "bytes_in": 77,
        "bytes_out": 2,
        "token": "tok_1",
    }


def test_a_refusal_says_its_cause(client: httpx.Client, log: Path) -> None:
    for path, status, cause in (
        ("/refused", 409, "conflict"),
        ("/broken", 500, "internal"),
        ("/none" * 100, 404, "not_found"),
    ):
        answer = client.get(path)
        found = line(log, answer.headers["x-request-id"])
        assert (answer.status_code, found["status"], found["cause"]) == (status, status, cause)
        assert len(found["path"]) < 210


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    log = open_access_log(str(tmp_path / "a.jsonl"))
    log.write({"n": 1, "left out": None})
    (tmp_path / "a.jsonl").rename(tmp_path / "a.jsonl.1")
    log.write({"n": 2, "text": "50 % of \n it"})
    log.close()
    assert line(tmp_path / "a.jsonl") == line(tmp_path / "a.jsonl") | {"n": 2, "text": "50 % of \n it"}
    assert line(tmp_path / "a.jsonl.1").keys() == {"time", "n"}


def test_a_log_that_cannot_be_written_fails_no_request_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log = open_access_log(str(folder / "a.jsonl"))
    folder.rename(tmp_path / "away")  # and no new folder in its place
    for _ in range(5):
        log.write({"lost": 1})
    folder.mkdir()
    log.write({"n": 2})
    log.close()
    assert line(folder / "a.jsonl")["n"] == 2
    assert [record.levelname for record in lines_of(caplog, "server.http.access")] == ["ERROR", "WARNING"]
    assert "No such file" in caplog.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_is_full_is_said_once_too(caplog: pytest.LogCaptureFixture, capsys: Any) -> None:
    log = open_access_log("/dev/full")
    for _ in range(5):
        log.write({"lost": 1})
    log.close()
    assert [record.levelname for record in lines_of(caplog, "server.http.access")] == ["ERROR"]
    assert capsys.readouterr().err == ""


def test_where_it_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_access_log("-").write({"n": 1})
    open_access_log(None).write({"n": 2})
    AccessLog().close()
    assert json.loads(capsys.readouterr().err)["n"] == 1
    with pytest.raises(SettingsError, match="DETCO_ACCESS_LOG"):
        open_access_log(str(tmp_path / "no" / "folder"))
