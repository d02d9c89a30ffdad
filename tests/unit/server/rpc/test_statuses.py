"""Problems in gRPC's codes."""

import pytest
from grpc import StatusCode

from server.http.problems import STATUS, Problem
from server.rpc.statuses import status_of


@pytest.mark.parametrize(
    ("family", "code"),
    [
        ("unauthorized", StatusCode.UNAUTHENTICATED),
        ("forbidden", StatusCode.PERMISSION_DENIED),
        ("not_found", StatusCode.NOT_FOUND),
        ("invalid_request", StatusCode.INVALID_ARGUMENT),
        ("precondition_failed", StatusCode.INVALID_ARGUMENT),
        ("body_too_large", StatusCode.INVALID_ARGUMENT),
        ("too_many_requests", StatusCode.UNAVAILABLE),
        ("deadline_exceeded", StatusCode.UNAVAILABLE),
        ("unavailable", StatusCode.UNAVAILABLE),
        ("not_implemented", StatusCode.UNIMPLEMENTED),
        ("internal", StatusCode.INTERNAL),
    ],
)
def test_codes(family: str, code: StatusCode) -> None:
    assert status_of(Problem(family, "why")) == (code, "why")


@pytest.mark.parametrize(
    ("family", "left", "code"),
    [
        ("deadline_exceeded", 0.0, StatusCode.DEADLINE_EXCEEDED),
        ("deadline_exceeded", 0.5, StatusCode.UNAVAILABLE),
        ("deadline_exceeded", None, StatusCode.UNAVAILABLE),
        ("invalid_request", 0.0, StatusCode.INVALID_ARGUMENT),
        ("too_many_requests", 0.0, StatusCode.UNAVAILABLE),
    ],
)
def test_what_the_callers_own_deadline_ended_is_said_as_their_library_says_it(
    family: str, left: float | None, code: StatusCode
) -> None:
    assert status_of(Problem(family, "why"), left) == (code, "why")


def test_only_what_is_the_services_own_fault_is_internal_and_no_detail_is_endless() -> None:
    codes = {family: status_of(Problem(family, "x" * 10_000)) for family in STATUS}
    assert [family for family, (code, _) in codes.items() if code is StatusCode.INTERNAL] == ["internal"]
    assert all(len(detail) <= 2000 for _, detail in codes.values())
