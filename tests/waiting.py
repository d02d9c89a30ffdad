"""Waiting for what another thread or process does a moment later: for the thing itself, not for a time."""

import time
from collections.abc import Callable


def wait_until(happened: Callable[[], object], seconds: float = 120) -> None:
    """Return once it has; fail after a time that only a hang takes."""
    give_up = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < give_up, "it never came to hold"
        time.sleep(0.005)
