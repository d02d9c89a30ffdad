"""Tells processes that something has changed, without saying what: the tables say what.

A lost nudge costs latency only, because every reader also looks by itself. With Redis nudges travel by publish and
subscribe; without, a watch always says that there may be news, at the pace of its own polling.
"""

import time
from typing import Protocol

from control.settings import Settings

_POLL_SECONDS = 0.25


class Watch(Protocol):
    """One reader's view of one topic; make it before the first look at the tables, so that nothing is missed."""

    def moved(self) -> bool:
        """Whether there may be news since the last call; the first call says yes. Never blocks."""

    def wait(self, timeout: float) -> bool:
        """Block until there may be news, at most `timeout` seconds; whether there may be."""


class Bus(Protocol):
    """Carries nudges; topics are words such as `run:ID`."""

    def publish(self, topic: str) -> None:
        """Nudge everybody who watches the topic. Best effort: never raises, never waits long."""

    def watch(self, topic: str) -> Watch: ...

    def close(self) -> None: ...


def run_topic(run_id: str) -> str:
    """The topic of everything about one run."""
    return f"run:{run_id}"


def broker_trouble(settings: Settings) -> str | None:
    """What a person should mend about the broker, in a sentence; waits two seconds at most."""
    if not _is_redis(settings):
        return None
    from control.redis_health import redis_trouble  # as below

    return redis_trouble(settings.resolved_broker_url)


def _is_redis(settings: Settings) -> bool:
    return settings.resolved_broker_url.startswith(("redis://", "rediss://"))


def open_bus(settings: Settings) -> Bus:
    """Redis when the broker is Redis, else polling."""
    if _is_redis(settings):
        # Importing redis takes a quarter of a second of CPU: of each runner, and most services have none.
        from control.redis_bus import RedisBus

        return RedisBus(settings.resolved_broker_url, _POLL_SECONDS)
    return PollingBus()


class PollingBus:
    """Carries nothing: watchers look at the tables every `interval` seconds."""

    def __init__(self, interval: float = _POLL_SECONDS) -> None:
        self.interval = interval

    def publish(self, topic: str) -> None:
        pass

    def watch(self, topic: str) -> Watch:
        return _PollingWatch(self.interval)

    def close(self) -> None:
        pass


class _PollingWatch:
    def __init__(self, interval: float) -> None:
        self._interval = interval

    def moved(self) -> bool:
        return True

    def wait(self, timeout: float) -> bool:
        time.sleep(max(0.0, min(timeout, self._interval)))
        return True
