"""docs/failures.md: a row for every failure, and every test it names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = re.findall(r"^\| (\d+) \|.*\|(.*)\|$", (ROOT / "docs" / "failures.md").read_text("utf-8"), re.MULTILINE)


def test_no_failure_is_left_out() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 18))


@pytest.mark.parametrize(("number", "shown_by"), ROWS)
def test_what_shows_it_exists(number: str, shown_by: str) -> None:
    named = re.findall(r"`(\S+\.py)::(\w+)`", shown_by)
    assert named, f"row {number} names no test"
    for path, name in named:
        assert re.search(rf"^ *def {name}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE), f"{path}::{name}"
