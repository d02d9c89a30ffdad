"""docs/settings.md names every setting, and no other."""

import re
from pathlib import Path

from control.settings import Settings

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_the_page_names_every_setting_and_no_other() -> None:
    named = re.findall(r"^\| `DETCO_([A-Z_]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert named == [name.upper() for name in Settings.model_fields]


def test_every_row_says_something() -> None:
    rows = [row.split("|") for row in PAGE.read_text("utf-8").splitlines() if row.startswith("| `DETCO_")]
    assert all(row[3].strip().endswith(".") for row in rows)
