import socket
from typing import Any

import pytest

from detco_client.errors import (
    ApiError,
    BadReply,
    Busy,
    CannotConnect,
    Conflict,
    NotAuthenticated,
    NotFound,
    Refused,
    ServiceFailed,
    api_error,
)
from detco_client.transport import Transport, open_transport


@pytest.fixture
def transport(service: Any) -> Any:
    made = open_transport(service.url, "secret")
    yield made
    made.http.close()


def test_every_page_of_a_list_is_read(transport: Transport, service: Any) -> None:
    service.state.runs = {f"run_{n}": {"id": f"run_{n}"} for n in range(5)}
    assert [item["id"] for item in transport.items("/v1/runs")] == [f"run_{n}" for n in range(5)]
    assert len([path for _, path, _ in service.state.requests if path.startswith("v1/runs")]) == 3


def test_a_problem_becomes_an_error_with_all_it_says(transport: Transport) -> None:
    with pytest.raises(NotFound, match="there is no run nope") as caught:
        transport.get("/v1/runs/nope")
    assert (caught.value.code, caught.value.status, caught.value.request_id) == ("not_found", 404, "req_7")


def test_an_unlawful_move_names_the_lawful_ones(transport: Transport) -> None:
    with pytest.raises(Conflict) as caught:
        transport.post("/v1/runs/run_1/resume")
    assert caught.value.available_actions == ("pause",)


def test_every_fault_of_a_request_is_kept(transport: Transport) -> None:
    body = {"dataset": "photos", "preset": "smoke", "overrides": {"train.stepz": 1, "lr": 2}}
    with pytest.raises(Refused) as caught:
        transport.post("/v1/runs", body)
    assert [fault.path for fault in caught.value.errors] == ["overrides.train.stepz", "overrides.lr"]


def test_a_wrong_token_says_where_to_find_one(service: Any) -> None:
    transport = open_transport(service.url, "wrong")
    with pytest.raises(NotAuthenticated) as caught:
        transport.get("/v1/info")
    assert "DETCO_TOKEN" in caught.value.remedy
    transport.http.close()


def test_a_page_of_a_proxy_is_quoted(transport: Transport) -> None:
    with pytest.raises(ServiceFailed, match="502: <html>a proxy's page"):
        transport.get("/v1/metrics-of-nothing")


def test_what_is_not_json_is_a_bad_reply(transport: Transport) -> None:
    with pytest.raises(BadReply, match="not JSON"):
        transport.get("/v1/runs/run_1/logs")


def test_reading_is_repeated_while_the_service_starts(transport: Transport, service: Any) -> None:
    service.state.refuse = [(503, {}), (503, {})]
    assert transport.get("/v1/info")["version"] == "0.1.0"


def test_a_post_is_repeated_only_with_a_key(transport: Transport, service: Any) -> None:
    service.state.refuse = [(503, {})]
    with pytest.raises(ServiceFailed):
        transport.post("/v1/datasets", {"name": "a", "uri": "/a"})
    service.state.refuse = [(503, {})]
    body = {"dataset": "photos", "preset": "smoke", "overrides": {}}
    assert transport.post("/v1/runs", body, headers={"Idempotency-Key": "k"})["id"] == "run_1"


def test_a_full_service_is_asked_again_when_it_says_so(transport: Transport, service: Any) -> None:
    service.state.refuse = [(429, {"Retry-After": "0"})] * 3
    assert transport.post("/v1/datasets", {"name": "a", "uri": "/a"})["id"] == "ds_a"
    service.state.refuse = [(429, {"Retry-After": "0"})] * 4
    with pytest.raises(Busy, match="not now"):
        transport.get("/v1/info")


def test_nothing_there_says_how_to_start_it(service: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        transport = open_transport(f"http://127.0.0.1:{taken.getsockname()[1]}", None)
        with pytest.raises(CannotConnect) as caught:
            transport.get("/v1/info")
    assert "detco up" in caught.value.remedy
    transport.http.close()


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Refused), (413, Refused), (415, Refused), (422, Refused), (404, NotFound), (500, ServiceFailed)],
)
def test_a_status_has_its_error(status: int, kind: type[ApiError]) -> None:
    assert type(api_error(status, {})) is kind
    assert type(api_error(418, {})) is ApiError


def test_a_problem_of_another_shape_does_no_harm() -> None:
    error = api_error(409, {"errors": "none", "available_actions": 5, "detail": None, "code": None})
    assert isinstance(error, Conflict)
    assert (error.errors, error.available_actions, error.code) == ((), (), "unknown")
    busy = api_error(429, {}, "Wed, 21 Oct 2026 07:28:00 GMT")
    assert isinstance(busy, Busy)
    assert busy.retry_after == 1.0
