"""The interface as the OpenAPI document has it, held to a stored compact form."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from control.settings import load_settings
from server.app import make_app

SNAPSHOT = Path(__file__).with_name("openapi.json")
REFRESH = "REFRESH_OPENAPI=1 python -m pytest tests/unit/server/test_openapi.py"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_app(load_settings(data_dir=tmp_path_factory.mktemp("data"))).openapi()


def compact(document: Any) -> dict[str, Any]:
    """Each operation's parameters, body and answers, and each schema's fields: what a client can tell apart."""
    operations = {
        f"{method.upper()} {path}": {
            "parameters": sorted(f"{p['in']}:{p['name']}" for p in operation.get("parameters", [])),
            "body": [_name(media) for media in operation.get("requestBody", {}).get("content", {}).items()],
            "answers": {
                status: [_name(media) for media in answer.get("content", {}).items()]
                for status, answer in operation["responses"].items()
            },
        }
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    schemas = {name: sorted(schema.get("properties", {})) for name, schema in document["components"]["schemas"].items()}
    return {"operations": operations, "schemas": schemas}


def _name(media: tuple[str, Any]) -> str:
    kind, content = media
    reference = content.get("schema", {}).get("$ref", "")
    return f"{kind} {reference.rpartition('/')[2]}".strip()


def test_the_interface_is_the_stored_one(document: Any) -> None:
    found = json.dumps(compact(document), indent=1, sort_keys=True) + "\n"
    if os.environ.get("REFRESH_OPENAPI"):
        SNAPSHOT.write_text(found, "utf-8")
    assert found == SNAPSHOT.read_text("utf-8"), f"the interface has changed; if that is meant, run: {REFRESH}"


def test_every_route_says_what_it_does(document: Any) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation.get("summary"), f"{method} {path} has no summary"
            assert operation.get("tags"), f"{method} {path} has no tag"


def test_operation_ids_are_unique(document: Any) -> None:
    ids = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


def test_what_the_interface_promises_is_there(document: Any) -> None:
    """The routes of API.md that must work by now; their paths are promises."""
    promised = """
        GET /v1/info · POST /v1/datasets · GET /v1/datasets/{} · POST /v1/datasets/{}/versions ·
        GET /v1/datasets/{}/versions/{} · POST /v1/runs · GET /v1/runs · GET /v1/runs/{} · POST /v1/runs/{}/cancel ·
        POST /v1/runs/{}/pause · POST /v1/runs/{}/resume · POST /v1/runs/{}/kill · POST /v1/runs/{}/finish ·
        POST /v1/runs/{}/fork · POST /v1/weights · GET /v1/weights · GET /v1/weights/{} · DELETE /v1/weights/{} ·
        GET /v1/runs/{}/events · GET /v1/runs/{}/metrics · GET /v1/runs/{}/logs · GET /v1/runs/{}/attempts ·
        GET /v1/runs/{}/checkpoints · GET /v1/runs/{}/checkpoints/{}/file · POST /v1/evaluations ·
        GET /v1/evaluations · GET /v1/evaluations/{} · POST /v1/evaluations/{}/cancel · GET /v1/evaluations/{}/events ·
        GET /v1/evaluations/compare · POST /v1/models/{}/versions · GET /v1/models · GET /v1/models/{} ·
        GET /v1/models/{}/versions/{} · GET /v1/models/{}/versions/{}/files/{} · PUT /v1/models/{}/aliases/{} ·
        GET /v1/models/{}/aliases/{}/history · PUT /v1/models/{}/versions/{}/pins/{} ·
        DELETE /v1/models/{}/versions/{}/pins/{} · POST /v1/models/{}/versions/{}/cancel ·
        GET /v1/models/{}/versions/{}/events · POST /v1/features · POST /features · POST /v1/tokens · GET /v1/tokens ·
        DELETE /v1/tokens/{} · GET /v1/workers · GET /v1/audit · GET /livez · GET /readyz · GET /readyz/api ·
        GET /readyz/features · GET /metrics
    """
    there = {
        f"{method.upper()} {'/'.join('{}' if part.startswith('{') else part for part in path.split('/'))}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert {operation.strip() for operation in promised.split("·")} <= there


SHORT = {"metrics", "summary"}
"""Lists that come whole: bounded by a parameter of their own, and by how many metrics a run may have."""
NO_JOB = {"POST /v1/webhooks/{webhook}/test", "POST /v1/webhooks/{webhook}/deliveries/{delivery}/redeliver"}


def test_every_list_has_pages_and_every_new_job_a_key(document: Any) -> None:
    """What a client may rely on wherever it looks, without reading each route's page."""
    for label, operation in compact(document)["operations"].items():
        parameters, answers = operation["parameters"], operation["answers"]
        if any("Page_" in answer for answer in answers.get("200", [])):
            assert "query:page_token" in parameters or label.rpartition("/")[2] in SHORT, label
        if "202" in answers and label not in NO_JOB:
            assert "header:Idempotency-Key" in parameters, label
        errors = "application/json" if " /v2" in label else "application/problem+json ProblemView"
        assert answers["4XX"] == [errors], label
