import pytest

from control.records.names import check_name, parse_number


@pytest.mark.parametrize("name", ["a", "A1", "photos-2026.v1_x", "9", "a" * 100])
def test_names(name: str) -> None:
    assert check_name("name", name) == name


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("42", 42),
        ("007", 7),
        ("0", None),
        ("", None),
        ("-1", None),
        ("1.0", None),
        ("²", None),
        ("9" * 50, None),
    ],
)
def test_numbers(text: str, number: int | None) -> None:
    assert parse_number(text) == number
