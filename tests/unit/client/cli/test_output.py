from datetime import UTC, datetime, timedelta

import pytest

from detco_client.cli.output import age, complain, duration, size, text
from detco_client.errors import api_error


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2.0 h"), (172800, "2 d"), (None, "")],
)
def test_a_duration_is_in_its_largest_unit(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def test_an_age_is_counted_from_utc() -> None:
    then = datetime.now(UTC) - timedelta(hours=3)
    assert age(then.isoformat()) == "3.0 h"
    assert age(then.replace(tzinfo=None).isoformat()) == "3.0 h"
    assert age("yesterday") == ""
    assert age(None) == ""


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (44_800_000, "44.8 MB"), (5 * 10**16, "50000.0 TB")],
)
def test_a_size_is_in_decimal_units(count: int, words: str) -> None:
    assert size(count) == words


def test_a_cell_is_never_markup_of_its_own() -> None:
    assert text("[red]x") == r"\[red]x"
    assert text("failed") == "[red]failed[/]"
    assert text(0.123456) == "0.1235"
    assert text(["a", "b"]) == "a, b"


def test_a_failure_of_the_service_names_the_request(capsys: pytest.CaptureFixture[str]) -> None:
    errors = [{"path": "a.b", "detail": "is wrong"}, {"path": "c", "detail": "not now"}]
    complain(api_error(503, {"detail": "not now", "code": "unavailable", "request_id": "req_7", "errors": errors}))
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["error: not now", "  a.b: is wrong"]
    assert lines[-1] == "  request id: req_7"
