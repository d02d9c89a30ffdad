"""Names of metrics and warnings, and the page that lists them."""

import re
from pathlib import Path

import pytest

from detco_core.contract.events import TRAINING_WARNINGS
from detco_core.contract.metrics import METRICS, family

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "training.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("loss", "loss"),
        ("loss/l2g/res3", "loss/TERM/STAGE"),
        ("effective_rank/local/res5", "effective_rank/KIND/STAGE"),
        ("loss/l2g", None),
        ("loss/g2l/res3", None),
        ("loss/TERM/STAGE", None),
        ("top1", None),
    ],
)
def test_a_name_belongs_to_one_family(name: str, expected: str | None) -> None:
    found = family(name)
    assert (None if found is None else found.name) == expected
    assert sum(known.holds(name) for known in METRICS) == (expected is not None)


def test_the_page_lists_every_metric_with_its_meaning() -> None:
    rows = re.findall(r"^\| `([\w/]+)` \| ([^|]+) \| ([^|]+) \|$", PAGE, flags=re.MULTILINE)
    assert rows == [(known.name, known.unit, known.meaning) for known in METRICS]


def test_the_page_lists_every_warning_and_the_code_no_other() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|$", PAGE, flags=re.MULTILINE))
    assert {code: rows.get(code) for code in TRAINING_WARNINGS} == TRAINING_WARNINGS
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "detco_core" / "train").glob("*.py"))
    used = set(re.findall(r'code="(\w+)"', sources))
    assert used
    assert used <= TRAINING_WARNINGS.keys()
