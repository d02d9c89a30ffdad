"""A short round of the fuzzing in `fuzz.py`; what a longer one finds becomes a test of its own."""

from pathlib import Path

import pytest

from tests.contract.fuzz import fuzz, ground


@pytest.mark.slow
def test_every_operation_keeps_its_word(tmp_path: Path) -> None:
    with ground(tmp_path) as here:
        faults = fuzz(here, examples=2)
    assert faults.found == {}
    assert faults.requests > 200
    assert {200, 202, 404, 422} <= set(faults.statuses)
