"""What other packages raise, said as a problem: the framework, the contract, the control plane, the feature path."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from control import errors as control
from detco_core.contract.errors import Fault, ImageError, InvalidDocument
from server.features import errors as features
from server.http.errors.allowed import allowed_methods
from server.http.problems import STATUS, Problem, Wrong

_BY_STATUS = {400: "bad_request"} | {status: code for code, (status, _) in STATUS.items() if status not in (400, 422)}

_CONTROL: Mapping[type[control.ControlError], str] = {
    control.NotFound: "not_found",
    control.Conflict: "conflict",
    control.InvalidRequest: "invalid_request",
    control.StaleVersion: "precondition_failed",
    control.Unauthorized: "unauthorized",
    control.Forbidden: "forbidden",
    control.ArtifactMissing: "gone",
    control.DigestMismatch: "gone",
    control.StoreError: "unavailable",
    control.BadArchive: "invalid_request",
}
"""The family of every branch of the control plane's errors; what is not here is a fault of the service."""

_FEATURES: Mapping[type[features.FeatureError], tuple[str, str]] = {
    features.UnknownModel: ("not_found", "unknown_model"),
    features.NoDefaultModel: ("invalid_request", "no_default_model"),
    features.ModelUnavailable: ("unavailable", "model_unavailable"),
    features.UnknownLevel: ("invalid_request", "unknown_level"),
    features.OtherWeights: ("precondition_failed", "other_weights"),
    features.OverLimit: ("too_many_requests", "token_limit"),
    features.Shed: ("too_many_requests", "shed"),
    features.Overloaded: ("too_many_requests", "overloaded"),
    features.DeadlineExceeded: ("deadline_exceeded", "deadline_exceeded"),
    features.ReplyTooLarge: ("invalid_request", "reply_too_large"),
    features.BadTensor: ("bad_request", "bad_tensor"),
    features.ComputeFailed: ("internal", "compute_failed"),
    features.NoneReadable: ("invalid_request", "no_readable_image"),
}
_SAID = {404: "there is no {request}; /docs lists what there is", 405: "there is no {request}; Allow names what is"}
"""Instead of the framework's bare phrases."""
_OF_OVERRIDES: Mapping[str, int] = {"overrides": 0, "grid": 0, "combinations": 1}
"""Members of a body that hold dotted keys, and how many keys lead there."""
_IMAGES: Mapping[str, str] = {"unsupported": "unsupported_media_type", "too_large": "body_too_large"}
"""The family of an `ImageError` by its code; the others are `invalid_request`."""


def from_http(error: HTTPException, request: Request) -> Problem:
    """What the framework refused: unknown paths, wrong methods, bodies it cannot read."""
    family = _BY_STATUS.get(error.status_code, "internal" if error.status_code >= 500 else "bad_request")
    detail = str(error.detail)
    if detail == HTTPStatus(error.status_code).phrase:
        detail = _SAID.get(error.status_code, detail).format(request=f"{request.method} {request.url.path}")
    headers = dict(error.headers or {})
    if error.status_code == 405 and (allowed := allowed_methods(request.app.routes, request.url.path)):
        headers["Allow"] = ", ".join(allowed)
    return Problem(family, detail, headers=headers)


def from_validation(error: RequestValidationError, request: Request) -> Problem:
    """What pydantic refused in a path, query, header or body."""
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return Problem("malformed_json", "the body is not JSON: " + str(found[0].get("ctx", {}).get("error", "")))
    if any(item["loc"] == ("body",) for item in found) and not _is_json(request):
        sent = request.headers.get("content-type", "no content type")
        return Problem("unsupported_media_type", f"send a JSON object as application/json, not {sent[:80]}")
    wrong = [Wrong(_keys(item["loc"]), str(item["msg"])) for item in found]
    return Problem("invalid_request", "; ".join(map(str, wrong)), errors=wrong)


def from_document(error: InvalidDocument, under: tuple[str, ...] = (), *, whole_keys: bool = False) -> Problem:
    """What the contract refused in a document that lies at `under` in the body.

    `whole_keys`: the faults' paths are single keys with dots in them, as in `overrides`, not paths through a tree.
    """
    errors = [_wrong(fault, under, whole_keys=whole_keys) for fault in error.faults]
    return Problem("invalid_document", str(error), errors=errors)


def from_control(error: control.ControlError) -> Problem:
    """What the control plane refused."""
    family = next((family for kind, family in _CONTROL.items() if isinstance(error, kind)), "internal")
    faults = error.faults if isinstance(error, control.InvalidRequest) else ()
    headers = {"WWW-Authenticate": "Bearer"} if family == "unauthorized" else {}
    headers |= {"Retry-After": "1"} if isinstance(error, control.InProgress) else {}
    extra: dict[str, Any] = {}
    if isinstance(error, control.IllegalMove):
        extra["available_actions"] = error.available
    if isinstance(error, control.OtherOffset):
        extra["received"] = error.received
    if isinstance(error, control.InUse):
        extra["holders"] = error.holders
    errors = [_wrong(fault) for fault in faults]
    return Problem(family, str(error), code=error.code, errors=errors, headers=headers, **extra)


def from_feature(error: features.FeatureError) -> Problem:
    """What the feature path refused."""
    family, code = next(
        (found for kind, found in _FEATURES.items() if isinstance(error, kind)), ("internal", "internal")
    )
    if isinstance(error, features.ReplyTooLarge) and error.format_only:
        family = "not_acceptable"
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, features.Overloaded) else {}
    extra = {"limit": error.limit} if isinstance(error, features.OverLimit) else {}
    wrong = [Wrong(("images", str(n)), str(one)) for n, one in enumerate(getattr(error, "errors", ()))]
    return Problem(family, str(error), code=code, errors=wrong, headers=headers, **extra)


def from_image(error: ImageError) -> Problem:
    """What is wrong with one image: the whole answer to a raw body, an item's `error` among several."""
    return Problem(_IMAGES.get(error.code, "invalid_request"), str(error), code=f"image_{error.code}")


def _wrong(fault: Fault, under: tuple[str, ...] = (), *, whole_keys: bool = False) -> Wrong:
    keys = (fault.path,) if whole_keys else _split(fault.path)
    return Wrong((*under, *keys) if fault.path else under, fault.message)


def _split(path: str) -> tuple[str, ...]:
    """The keys and places in lists of a path; under keys that hold overrides, a dotted key is one key."""
    first, *rest = re.sub(r"\[(\d+)\]", r".\1", path).split(".")
    outer = _OF_OVERRIDES.get(first, len(rest))
    return (first, *rest[:outer], *([".".join(rest[outer:])] if rest[outer:] else []))


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _keys(location: Sequence[int | str]) -> tuple[str, ...]:
    inside = location[1:] if location and location[0] == "body" else location
    return tuple(map(str, inside))
