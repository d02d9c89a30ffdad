"""Every error of the service as an RFC 9457 problem document; the one place that knows status codes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Scope

from server.http.access import note

MEDIA_TYPE = "application/problem+json"

STATUS: Mapping[str, tuple[int, str]] = {
    "bad_request": (400, "The request cannot be understood"),
    "unauthorized": (401, "A valid token is needed"),
    "forbidden": (403, "The token does not allow this"),
    "not_found": (404, "There is no such thing"),
    "method_not_allowed": (405, "This path does not take that method"),
    "not_acceptable": (406, "The answer does not fit the format asked for"),
    "request_timeout": (408, "The request did not come in time"),
    "conflict": (409, "The state of the thing does not allow this"),
    "gone": (410, "What the service held is lost or damaged"),
    "precondition_failed": (412, "The thing has changed since it was read"),
    "body_too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "This content type is not taken here"),
    "range_not_satisfiable": (416, "The file has no such range"),
    "malformed_json": (422, "The body is not JSON"),
    "invalid_request": (422, "The request is not valid"),
    "invalid_document": (422, "The document is not valid"),
    "too_many_requests": (429, "Too many requests"),
    "head_too_large": (431, "The address and headers are too large"),
    "internal": (500, "The service failed"),
    "not_implemented": (501, "This is not done here"),
    "unavailable": (503, "A part of the service is not available"),
    "deadline_exceeded": (504, "The deadline passed"),
}
"""Status and title of every code. A problem with a more exact code of its own borrows the status of its family."""


_MOST_ERRORS, _LONGEST = 100, 2000
"""Entries of `errors`, and characters of a text, that a problem has: it never multiplies what was sent."""

OPEN_INFERENCE = "/v2"
_OPEN_INFERENCE: Mapping[int, int] = {406: 400, 408: 400, 412: 400, 415: 400, 422: 400, 429: 503, 504: 503}
"""The protocol's status for ours, where it knows fewer: what cannot be done now is 503, what is wrong 400."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing wrong with a request: the keys that lead to it, from the outside in, and what is wrong."""

    keys: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        return f"{'.'.join(self.keys)}: {self.message}" if self.keys else self.message

    def as_json(self) -> dict[str, str]:
        """`path` is dotted, for people; `pointer` a JSON pointer (RFC 6901) into the body."""
        escaped = (key.replace("~", "~0").replace("/", "~1") for key in self.keys)
        return {
            "path": _shortened(".".join(self.keys)),
            "pointer": _shortened("#" + "".join("/" + key for key in escaped)),
            "detail": _shortened(self.message),
        }


class Problem(Exception):
    """An answer other than the one asked for.

    `family` is a key of `STATUS`; `code` a more exact stable word for machines (the family's when None); `extra` holds
    further members of the document, for example the actions that would be lawful.
    """

    def __init__(
        self,
        family: str,
        detail: str,
        *,
        code: str | None = None,
        errors: Sequence[Wrong] = (),
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.title = STATUS[family]
        self.code = code or family
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extra = extra


class BodyTooLarge(HTTPException):
    """Raised while a body is read; an `HTTPException` because FastAPI lets nothing else out of body parsing."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the body is larger than {limit} bytes, the most this route takes")


class BodyStalled(HTTPException):
    """Raised while a body is read, when nothing more of it comes."""

    def __init__(self, seconds: float) -> None:
        detail = f"nothing of the body came for {seconds:g} s; send it again"
        super().__init__(408, detail, headers={"Connection": "close"})


class TooManyBytes(HTTPException):
    """Raised while a body is read, for want of memory; the same as `BodyTooLarge` otherwise."""

    def __init__(self, held: int) -> None:
        detail = f"{held} bytes of other requests are held here, with which this body does not fit; try again in 2 s"
        super().__init__(429, detail, headers={"Retry-After": "2"})


def document(problem: Problem, request_id: str) -> dict[str, Any]:
    """The problem as the JSON object that is sent."""
    return {
        "type": f"urn:detco:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": _shortened(problem.detail),
        "code": problem.code,
        "errors": [wrong.as_json() for wrong in problem.errors[:_MOST_ERRORS]],
        "request_id": request_id,
        **problem.extra,
    }


class _Ascii(JSONResponse):
    """A problem may repeat what UTF-8 cannot say: JSON can hold half of a surrogate pair."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def render(problem: Problem, scope: Scope) -> JSONResponse:
    """The problem as a response to the request of `scope`."""
    note(scope, cause=problem.code)
    if is_open_inference(scope):
        body = {"error": _shortened(problem.detail)}
        return _Ascii(body, open_inference_status(problem), headers=problem.headers)
    body = document(problem, request_id(scope))
    return _Ascii(body, problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def open_inference_status(problem: Problem) -> int:
    """The status that the Open Inference Protocol has for a problem."""
    return _OPEN_INFERENCE.get(problem.status, problem.status)


def is_open_inference(scope: Scope) -> bool:
    """Whether the request is one of the Open Inference Protocol, which has errors of its own form."""
    path = str(scope.get("path", ""))
    return path == OPEN_INFERENCE or path.startswith(f"{OPEN_INFERENCE}/")


def request_id(scope: Scope) -> str:
    """The id the middleware gave this request, or the empty string outside of one."""
    found = scope.get("state", {}).get("request_id", "")
    return str(found)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
