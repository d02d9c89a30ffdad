"""A short round of the fuzzing in `fuzz.py`; what a longer one finds becomes a test of its own."""

from pathlib import Path

import pytest

from benchmarks.servers import HASTY, postgres
from tests.contract.fuzz import fuzz, ground


@pytest.mark.slow
def test_every_operation_keeps_its_word(tmp_path: Path) -> None:
    with ground(tmp_path) as here:
        faults = fuzz(here, examples=2)
    assert faults.found == {}
    assert faults.requests > 200
    assert {200, 202, 404, 422} <= set(faults.statuses)


@pytest.mark.slow
def test_it_stands_on_postgresql_too(tmp_path: Path) -> None:
    """Where a longer round is made by hand."""
    with postgres(HASTY) as server, ground(tmp_path, server.url) as here:
        faults = fuzz(here, examples=3, only="GET /v1/runs")
    assert faults.found == {}
    assert 200 in faults.statuses
