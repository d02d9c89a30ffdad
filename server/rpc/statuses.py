"""A problem as the status of a call: of gRPC's codes those that Triton's server uses, and two for tokens."""

from collections.abc import Mapping

from grpc import StatusCode

from server.http.problems import Problem, open_inference_status

_CODES: Mapping[int, StatusCode] = {
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.NOT_FOUND,
    500: StatusCode.INTERNAL,
    501: StatusCode.UNIMPLEMENTED,
    503: StatusCode.UNAVAILABLE,
}
_LATE = "deadline_exceeded"
_MOST_TEXT = 2000
"""Characters of a detail: it travels in a header, and clients bound those."""


def status_of(problem: Problem, seconds_left: float | None = None) -> tuple[StatusCode, str]:
    """Code and details: `/v2`'s status in gRPC's words, what is wrong with a request as INVALID_ARGUMENT.

    With no `seconds_left` until the caller's own deadline (None: the call has none), what came too late is
    DEADLINE_EXCEEDED, as the caller's own library says when it notices first.
    """
    code = _CODES.get(open_inference_status(problem), StatusCode.INVALID_ARGUMENT)
    if problem.code == _LATE and seconds_left is not None and seconds_left <= 0:
        code = StatusCode.DEADLINE_EXCEEDED
    return code, problem.detail[:_MOST_TEXT]
