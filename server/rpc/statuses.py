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
_MOST_TEXT = 2000
"""Characters of a detail: it travels in a header, and clients bound those."""


def status_of(problem: Problem) -> tuple[StatusCode, str]:
    """Code and details: `/v2`'s status in gRPC's words, what is wrong with a request as INVALID_ARGUMENT."""
    code = _CODES.get(open_inference_status(problem), StatusCode.INVALID_ARGUMENT)
    return code, problem.detail[:_MOST_TEXT]
