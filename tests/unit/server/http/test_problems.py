"""Every error becomes one problem document with its code, what is wrong, and the request's id."""

from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import OperationalError, TimeoutError

from control import errors
from detco_core.contract.config import RunConfig, override
from detco_core.contract.errors import Fault, InvalidDocument
from server.features.options import read_options
from server.http import problems
from server.http.errors import handlers, translations
from server.http.middleware.bodies import BodyLimit
from server.http.middleware.context import RequestContext
from server.telemetry import Telemetry


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int


RAISED: dict[str, Exception] = {
    "illegal": errors.IllegalMove("pause", "completed", ("resume",)),
    "in_use": errors.InUse("the data set", ("run_1",)),
    "missing": errors.NotFound("run", "run_9"),
    "stale": errors.StaleVersion("the alias", 1, 2),
    "root": errors.ForbiddenRoot("uri", "lies outside"),
    "nobody": errors.Unauthorized("no token"),
    "store": errors.ArtifactMissing("gone"),
    "bug": ZeroDivisionError("secret"),
    "away": OperationalError("SELECT secret", {}, ConnectionError("secret")),
    "busy": TimeoutError("all of the secret pool is taken"),
    "half": errors.InvalidRequest("name", "there is no \ud800"),
    "many": InvalidDocument("query", tuple(Fault(f"a{n}", "is unknown") for n in range(10_000))),
    "long": InvalidDocument("query", (Fault("a" * 60_000, "is unknown: " + "b" * 60_000),)),
    "problem": problems.Problem(
        "too_many_requests", "slow down", code="too_many_streams", headers={"Retry-After": "7"}
    ),
}


@pytest.fixture(scope="module")
def client(serve: Callable[[FastAPI], httpx.Client]) -> httpx.Client:
    app = FastAPI()
    telemetry = Telemetry()

    @app.get("/raise/{name}")
    def fail(name: str) -> None:
        raise RAISED[name]

    @app.get("/overrides")
    def overrides() -> None:
        override(RunConfig(), {"train.stepz": 1})

    @app.post("/body")
    def body(body: Body) -> int:
        return body.size

    handlers.install(app)
    app.add_middleware(BodyLimit, limit_of=lambda path: 64, is_held=lambda path: False)
    app.add_middleware(RequestContext, telemetry=telemetry)
    return serve(app)


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("illegal", 409, "illegal_move"),
        ("in_use", 409, "in_use"),
        ("missing", 404, "not_found"),
        ("stale", 412, "stale_version"),
        ("root", 422, "forbidden_root"),
        ("nobody", 401, "unauthorized"),
        ("store", 410, "artifact_missing"),
        ("bug", 500, "internal"),
        ("away", 503, "database_unavailable"),
        ("busy", 503, "database_unavailable"),
        ("problem", 429, "too_many_streams"),
    ],
)
def test_raised_errors(client: httpx.Client, name: str, status: int, code: str) -> None:
    answer = client.get(f"/raise/{name}", headers={"X-Request-Id": "abc-1"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "abc-1"
    body = answer.json()
    assert body["status"] == status
    assert body["code"] == code
    assert body["request_id"] == "abc-1"
    assert body["detail"]
    assert "secret" not in answer.text


def test_what_an_error_knows_is_passed_on(client: httpx.Client) -> None:
    assert client.get("/raise/illegal").json()["available_actions"] == ["resume"]
    assert client.get("/raise/in_use").json()["holders"] == ["run_1"]
    assert client.get("/raise/problem").headers["retry-after"] == "7"
    assert client.get("/raise/nobody").headers["www-authenticate"] == "Bearer"
    assert client.get("/raise/root").json()["errors"] == [
        {"path": "uri", "pointer": "#/uri", "detail": "lies outside"},
    ]


def test_half_a_character_is_repeated_as_json_can(client: httpx.Client) -> None:
    answer = client.get("/raise/half")
    assert answer.status_code == 422
    assert b"\\ud800" in answer.content


def test_an_answer_never_multiplies_what_was_wrong(client: httpx.Client) -> None:
    many, long = client.get("/raise/many"), client.get("/raise/long")
    assert len(many.content) < 20_000
    assert many.json()["detail"].endswith("a19: is unknown; and 9980 more")
    assert len(many.json()["errors"]) == 100
    assert len(long.content) < 10_000
    assert long.json()["errors"][0]["path"].startswith("aaa")


def test_documents_name_every_key(client: httpx.Client) -> None:
    body = client.get("/overrides").json()
    assert (body["status"], body["code"]) == (422, "invalid_document")
    assert [error["path"] for error in body["errors"]] == ["train.stepz"]


def test_whole_keys_are_one_step_of_the_pointer() -> None:
    with pytest.raises(InvalidDocument) as caught:
        override(RunConfig(), {"train.stepz": 1})
    (wrong,) = translations.from_document(caught.value, ("overrides",), whole_keys=True).errors
    assert wrong.as_json()["path"] == "overrides.train.stepz"
    assert wrong.as_json()["pointer"] == "#/overrides/train.stepz"


def test_places_in_lists_are_steps_of_the_pointer() -> None:
    with pytest.raises(InvalidDocument) as caught:
        read_options({"boxes": [[0, 0, 9, 9], [0, 0, 9, "9"]]})
    (wrong,) = translations.from_document(caught.value).errors
    assert wrong.as_json()["path"] == "boxes.1.3"
    assert wrong.as_json()["pointer"] == "#/boxes/1/3"


def test_pointer_escapes() -> None:
    assert problems.Wrong(("a/b", "c~d"), "no").as_json()["pointer"] == "#/a~1b/c~0d"


@pytest.mark.parametrize(
    ("path", "method", "body", "kind", "status", "code"),
    [
        ("/nowhere", "GET", b"", "", 404, "not_found"),
        ("/body", "DELETE", b"", "", 405, "method_not_allowed"),
        ("/body", "POST", b"just text", "application/json", 422, "malformed_json"),
        ("/body", "POST", b"just text", "text/plain", 415, "unsupported_media_type"),
        ("/body", "POST", b'{"size": "x"}', "application/json", 422, "invalid_request"),
        ("/body", "POST", b'{"size": 1, "colour": 2}', "application/json", 422, "invalid_request"),
        ("/body", "POST", b"x" * 65, "application/json", 413, "body_too_large"),
    ],
)
def test_what_the_framework_refuses(
    client: httpx.Client, path: str, method: str, body: bytes, kind: str, status: int, code: str
) -> None:
    answer = client.request(method, path, content=body, headers={"Content-Type": kind} if kind else {})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_validation_names_each_place(client: httpx.Client) -> None:
    body = client.post("/body", json={"colour": 2}).json()
    assert {error["path"] for error in body["errors"]} == {"size", "colour"}


def test_every_branch_of_the_control_errors_has_a_family() -> None:
    faults_of_the_service = {errors.SettingsError}
    for branch in errors.ControlError.__subclasses__():
        assert branch in translations._CONTROL or branch in faults_of_the_service, branch
