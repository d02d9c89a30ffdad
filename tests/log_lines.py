"""What one part of the house has written to the log: other threads of the tests' process may write beside it."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest


def lines_of(caplog: pytest.LogCaptureFixture, *loggers: str) -> list[logging.LogRecord]:
    """The records of these loggers, and of those below them, in order."""
    return [r for r in caplog.records if any(r.name == name or r.name.startswith(f"{name}.") for name in loggers)]


def json_lines(file: Path) -> list[dict[str, Any]]:
    """The lines of a log that is being written: the last of its text may be half a line."""
    return [json.loads(line) for line in file.read_text().rpartition("\n")[0].splitlines()]
