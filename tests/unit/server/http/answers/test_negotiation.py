"""Choosing a format by `Accept`."""

import pytest
from starlette.requests import Request

from server.http.answers.negotiation import choose, listed

OFFERED = ("application/octet-stream", "application/x-npz", "application/json")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, OFFERED[0]),
        ("", OFFERED[0]),
        ("*/*", OFFERED[0]),
        ("application/*", OFFERED[0]),
        ("application/json", OFFERED[2]),
        ("APPLICATION/JSON; charset=utf-8", OFFERED[2]),
        ("text/html, application/x-npz;q=0.5, application/json;q=0.4", OFFERED[1]),
        ("application/json, */*;q=0.1", OFFERED[2]),
        ("application/octet-stream;q=0, */*", OFFERED[1]),
        ("*/*;q=0.1, application/x-npz;q=0.05", OFFERED[0]),
        ("application/json;q=high, application/x-npz", OFFERED[1]),
        ("text/html", None),
        ("*/*;q=0", None),
        (",;,", None),
    ],
)
def test_the_best_offer(accept: str | None, chosen: str | None) -> None:
    assert choose(accept, OFFERED) == chosen


def test_a_list_may_come_in_several_lines() -> None:
    lines = [(b"accept", b"text/html"), (b"accept", b"application/json;q=0.5, application/x-npz")]
    accept = listed(Request({"type": "http", "headers": lines}), "accept")
    assert accept == "text/html, application/json;q=0.5, application/x-npz"
    assert choose(accept, OFFERED) == OFFERED[1]
    assert listed(Request({"type": "http", "headers": []}), "accept") == ""
