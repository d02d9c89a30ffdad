"""What the OpenAPI document says of every operation, and no route should have to repeat: problems and conditions."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from server.http.problems import MEDIA_TYPE, OPEN_INFERENCE
from server.http.schemas.base import ProblemView

PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ProblemView, "description": "The request cannot be served: a problem document."},
    "5XX": {"model": ProblemView, "description": "The service cannot serve it now: a problem document."},
}
"""Of every route; `responses` of the application."""

_JSON = "application/json"
_BY_PROTOCOL = {
    _JSON: {"schema": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}}
}
"""Errors as the Open Inference Protocol has them."""
_UNCHANGED = {"description": "The answer is still the one that `If-None-Match` names."}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "ETags of answers the caller has.",
}


def describe(app: FastAPI) -> None:
    """Have the document of `app` say them."""
    plain: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            for path, methods in document["paths"].items():
                errors = _BY_PROTOCOL if path.startswith(OPEN_INFERENCE) else None
                for method, operation in methods.items():
                    _describe(method, operation, errors)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's own documentation extends it


def _describe(method: str, operation: dict[str, Any], errors: dict[str, Any] | None) -> None:
    answers = operation["responses"]
    for status in PROBLEMS:
        # FastAPI puts the schema under the media type of the route's good answer.
        (schema,) = answers[status]["content"].values()
        answers[status]["content"] = errors or {MEDIA_TYPE: schema}
    if method == "get" and _JSON in answers.get("200", {}).get("content", {}):
        answers["304"] = _UNCHANGED
        operation.setdefault("parameters", []).append(_IF_NONE_MATCH)
