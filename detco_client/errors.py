"""Errors of the client, all of them.

::

    ClientError
    ├── CannotConnect        nothing answers at the service's address
    ├── ApiError             the service refused: a problem document (RFC 9457)
    │   ├── NotAuthenticated     401: no token, or one the service does not know
    │   ├── Forbidden            403: the token lacks the scope, or is limited to other models
    │   ├── NotFound             404
    │   ├── Conflict             409: the state of the thing does not allow this; names what it allows
    │   ├── Changed              412: the thing changed since it was read
    │   ├── Refused              400, 413, 415, 422: the request itself; `errors` lists every fault
    │   ├── Busy                 429: come back after `retry_after` seconds
    │   └── ServiceFailed        5xx
    ├── BadReply             the service's answer is not what its protocol says
    ├── DigestMismatch       a downloaded file is not the one the service described
    ├── JobFailed            a job that was waited for did not complete
    └── WaitTimeout          a job that was waited for is still at work

Each message names the thing; `remedy` says what to do about it, where that is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


class ClientError(Exception):
    """Base of every error raised on purpose by `detco_client`."""

    remedy: str = ""


class CannotConnect(ClientError):
    """Nothing answers at the service's address."""

    def __init__(self, url: str, cause: str) -> None:
        super().__init__(f"cannot reach the service at {url}: {cause}")
        self.remedy = "start one with `detco up`, or name another with DETCO_URL"


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One fault of a request: `path` is dotted (`overrides.train.steps`), empty for the whole."""

    path: str
    detail: str


class ApiError(ClientError):
    """The service answered with a problem document."""

    usual_remedy: ClassVar[str] = ""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code") or "unknown")
        self.title = str(problem.get("title") or "")
        self.detail = str(problem.get("detail") or self.title or f"status {status}")
        self.request_id = str(problem.get("request_id") or "")
        self.errors = _field_problems(problem.get("errors"))
        self.problem = dict(problem)
        self.remedy = str(problem.get("remedy") or self.usual_remedy)
        super().__init__(self.detail)


class NotAuthenticated(ApiError):
    """401: no token, or one the service does not know."""

    usual_remedy = "set DETCO_TOKEN; an embedded service writes an admin token to DATA_DIR/token"


class Forbidden(ApiError):
    """403: the token does not allow this."""

    usual_remedy = "use a token with that scope: `detco tokens create --scope ...`"


class NotFound(ApiError):
    """404: there is no such thing."""


class Conflict(ApiError):
    """409: the state of the thing does not allow this; `available_actions` are those it allows."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(status, problem)
        actions = problem.get("available_actions")
        self.available_actions = tuple(map(str, actions)) if isinstance(actions, list) else ()


class Changed(ApiError):
    """412: the thing changed since it was read."""

    usual_remedy = "read it again, then decide again"


class Refused(ApiError):
    """400, 413, 415 or 422: the request cannot be served as it is."""


class Busy(ApiError):
    """429, or the same request is being answered: to be sent again in `retry_after` seconds."""

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after: float = 1.0) -> None:
        super().__init__(status, problem)
        self.retry_after = retry_after
        self.remedy = self.remedy or f"try again in {retry_after:g} s"


class ServiceFailed(ApiError):
    """5xx: the service, or something it stands on, failed."""

    usual_remedy = "try again; if it stays, look in the service's log for the request id"


class BadReply(ClientError):
    """The answer breaks the protocol: truncated, or of another shape than it says."""

    remedy = "check that DETCO_URL names a DetCo service of a matching version"


class DigestMismatch(ClientError):
    """A downloaded file is not the one the service described; it has been removed."""

    def __init__(self, name: str, expected: str, found: str) -> None:
        super().__init__(f"{name}: expected {expected}, got {found}")
        self.remedy = "download it again; if it stays, the stored file is damaged"


class JobFailed(ClientError):
    """A job that was waited for ended without completing."""

    def __init__(self, name: str, state: str, reason: str | None) -> None:
        super().__init__(f"{name} is {state}" + (f": {reason}" if reason else ""))
        self.state = state
        self.reason = reason


class WaitTimeout(ClientError):
    """A job that was waited for is still at work; it has not been touched."""

    def __init__(self, name: str, state: str, seconds: float) -> None:
        super().__init__(f"{name} is still {state} after {seconds:g} s")
        self.remedy = "wait longer; the job goes on"


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: Refused,
    401: NotAuthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: Changed,
    413: Refused,
    415: Refused,
    422: Refused,
}


def api_error(status: int, problem: Mapping[str, Any], retry_after: str | None = None) -> ApiError:
    """The error for a refused request; `retry_after` is the header's value."""
    if status == 429 or problem.get("code") == "request_in_progress":
        seconds = float(retry_after) if retry_after and retry_after.isdecimal() else 1.0
        return Busy(status, problem, seconds)
    kind = ServiceFailed if status >= 500 else _BY_STATUS.get(status, ApiError)
    return kind(status, problem)


def _field_problems(found: object) -> tuple[FieldProblem, ...]:
    if not isinstance(found, Sequence) or isinstance(found, str):
        return ()
    items = [item for item in found if isinstance(item, Mapping)]
    return tuple(FieldProblem(str(i.get("path") or ""), str(i.get("detail") or "")) for i in items)
