"""What one part of the house has written to the log: other threads of the tests' process may write beside it."""

import logging

import pytest


def lines_of(caplog: pytest.LogCaptureFixture, *loggers: str) -> list[logging.LogRecord]:
    """The records of these loggers, and of those below them, in order."""
    return [r for r in caplog.records if any(r.name == name or r.name.startswith(f"{name}.") for name in loggers)]
