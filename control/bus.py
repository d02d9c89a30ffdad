"""Tells processes that something has changed, without saying what: the tables say what.

A lost nudge costs latency only, because every reader also looks by itself. With Redis nudges travel by publish and
subscribe; without, a watch always says that there may be news, at the pace of its own polling.
"""

import logging
import threading
import time
import weakref
from typing import Protocol

import redis

from control.settings import Settings

_log = logging.getLogger(__name__)
_CHANNEL = "detco:"
_RECONNECT_SECONDS = 2.0
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


def open_bus(settings: Settings) -> Bus:
    """Redis when the broker is Redis, else polling."""
    if settings.resolved_broker_url.startswith(("redis://", "rediss://")):
        return RedisBus(settings.resolved_broker_url)
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


class RedisBus:
    """Carries nudges over Redis; while Redis is away its watches poll."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, socket_connect_timeout=2.0, socket_timeout=5.0)
        self._watches: weakref.WeakSet[_RedisWatch] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._listener: threading.Thread | None = None
        self._closed = threading.Event()
        self.connected = threading.Event()

    def publish(self, topic: str) -> None:
        try:
            self._client.publish(_CHANNEL + topic, b"")
        except redis.RedisError as error:
            _log.warning("no nudge for %s: %s", topic, error)

    def watch(self, topic: str) -> Watch:
        watch = _RedisWatch(topic, self.connected)
        with self._lock:
            self._watches.add(watch)
            if self._listener is None:
                self._listener = threading.Thread(target=self._listen, name="bus", daemon=True)
                self._listener.start()
        return watch

    def close(self) -> None:
        self._closed.set()
        if self._listener is not None:
            self._listener.join()
        self._client.close()

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                self._listen_once()
            except redis.RedisError as error:
                _log.warning("the bus lost Redis, polling meanwhile: %s", error)
            self.connected.clear()
            self._nudge(None)
            self._closed.wait(_RECONNECT_SECONDS)

    def _listen_once(self) -> None:
        subscription = self._client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]  # redis-py's
        with subscription as channel:
            channel.psubscribe(f"{_CHANNEL}*")
            # The reply to this subscription is the first thing read: only then can nothing be missed any more.
            channel.get_message(timeout=5.0)
            self.connected.set()
            self._nudge(None)
            while not self._closed.is_set():
                message = channel.get_message(timeout=0.5)
                if message is not None:
                    self._nudge(message["channel"].decode().removeprefix(_CHANNEL))

    def _nudge(self, topic: str | None) -> None:
        with self._lock:
            watches = list(self._watches)
        for watch in watches:
            if topic is None or watch.topic == topic:
                watch.event.set()


class _PollingWatch:
    def __init__(self, interval: float) -> None:
        self._interval = interval

    def moved(self) -> bool:
        return True

    def wait(self, timeout: float) -> bool:
        time.sleep(max(0.0, min(timeout, self._interval)))
        return True


class _RedisWatch:
    def __init__(self, topic: str, connected: threading.Event) -> None:
        self.topic = topic
        self.event = threading.Event()
        self.event.set()
        self._connected = connected

    def moved(self) -> bool:
        moved = self.event.is_set() or not self._connected.is_set()
        self.event.clear()
        return moved

    def wait(self, timeout: float) -> bool:
        connected = self._connected.is_set()
        moved = self.event.wait(timeout if connected else min(timeout, _POLL_SECONDS))
        self.event.clear()
        return moved or not connected
