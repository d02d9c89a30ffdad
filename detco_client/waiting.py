"""Waits for things that have a life: asks until they reach an end, and turns a bad end into an error."""

import time
from collections.abc import Callable, Container, Mapping
from typing import Any, TypeVar

from detco_client.errors import CannotConnect, JobFailed, WaitTimeout

T = TypeVar("T", bound=Mapping[str, Any])
PAUSE_SECONDS = 0.5
PATIENCE_SECONDS = 120.0
"""How long the service may be away (an upgrade, a restart); jobs go on without it."""


def wait(
    ask: Callable[[], T],
    name: str,
    *,
    good: Container[str],
    bad: Container[str],
    timeout: float | None = None,
    on_change: Callable[[T], None] | None = None,
) -> T:
    """The answer of `ask` once its `state` is a good one; `on_change` sees every answer, twice a second.

    Raises:
        JobFailed: when the state is a bad one.
        WaitTimeout: when it is neither after `timeout` seconds (None: no limit).
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        found = _patient(ask)
        if on_change:
            on_change(found)
        if found["state"] in good:
            return found
        if found["state"] in bad:
            raise JobFailed(name, found["state"], found.get("reason"))
        if deadline is not None and time.monotonic() > deadline:
            raise WaitTimeout(name, found["state"], timeout or 0.0)
        time.sleep(PAUSE_SECONDS)


def _patient(ask: Callable[[], T]) -> T:
    gone_at = time.monotonic()
    while True:
        try:
            return ask()
        except CannotConnect:
            if time.monotonic() - gone_at > PATIENCE_SECONDS:
                raise
            time.sleep(PAUSE_SECONDS)
