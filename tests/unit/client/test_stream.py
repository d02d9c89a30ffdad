from typing import Any

import pytest

from detco_client import stream
from detco_client.errors import BadReply, CannotConnect, NotAuthenticated
from detco_client.stream import follow
from detco_client.transport import Transport, open_transport

PATH = "/v1/runs/run_1/events"


@pytest.fixture
def transport(service: Any) -> Any:
    service.state.events = [(n, "metrics", {"step": n}) for n in range(1, 31)]
    made = open_transport(service.url, "secret")
    yield made
    made.http.close()


def ids(transport: Transport, after: int = -1) -> list[int]:
    events = list(follow(transport, PATH, after))
    assert events[-1].type == "end"
    assert events[-1].data == {"state": "completed"}
    return [event.id for event in events[:-1]]


def test_a_whole_stream_is_read_to_its_end(transport: Transport) -> None:
    assert ids(transport) == list(range(1, 31))
    assert ids(transport, after=10) == list(range(11, 31))


@pytest.mark.parametrize("drops", [[7], [0, 0, 0], [1, 0, 1, 28], [5, 5, 5, 5, 5, 4], [30]])
def test_a_dropped_stream_is_never_the_end(transport: Transport, service: Any, drops: list[int]) -> None:
    service.state.drop_after = list(drops)
    assert ids(transport) == list(range(1, 31))
    sent = [headers.get("last-event-id") for headers in service.state.headers(PATH[1:])]
    assert len(sent) == len(drops) + 1
    reached = 0
    expected: list[str | None] = [None]
    for drop in drops:
        reached += drop
        expected.append(str(reached) if reached else None)
    assert sent == expected


def test_a_service_that_repeats_itself_is_heard_once(
    transport: Transport, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A server that forgets Last-Event-ID begins again from its first event.
    service.state.drop_after = [12]
    plain = Transport.stream
    monkeypatch.setattr(
        Transport,
        "stream",
        lambda self, path, headers, timeout: plain(self, path, {"Accept": "text/event-stream"}, timeout),
    )
    assert ids(transport) == list(range(1, 31))


def test_a_service_that_stays_away_is_given_up(
    transport: Transport, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.state.drop_after = [0] * 1000
    monkeypatch.setattr(stream, "PATIENCE_SECONDS", 0.05)
    with pytest.raises(CannotConnect):
        list(follow(transport, PATH))


def test_a_refused_stream_is_not_tried_again(service: Any) -> None:
    transport = open_transport(service.url, "wrong")
    with pytest.raises(NotAuthenticated):
        list(follow(transport, PATH))
    assert len(service.state.headers(PATH[1:])) == 1
    transport.http.close()


def test_what_is_no_stream_is_a_bad_reply(transport: Transport) -> None:
    with pytest.raises(BadReply, match="not a stream"):
        list(follow(transport, "/v1/info"))


def test_an_event_that_is_not_json_is_a_bad_reply() -> None:
    with pytest.raises(BadReply):
        stream._object("{not json")
    assert stream._object("[1]") == {"value": [1]}
    assert stream._object("") == {}
