"""The bus over Redis (`control.bus`): publish and subscribe, and polling while Redis is away."""

import logging
import threading
import weakref

import redis

_log = logging.getLogger(__name__)
_CHANNEL = "detco:"
_RECONNECT_SECONDS = 2.0


class RedisBus:
    """Carries nudges over Redis; while Redis is away its watches poll."""

    def __init__(self, url: str, poll_seconds: float = 0.25) -> None:
        self._client = redis.Redis.from_url(url, socket_connect_timeout=2.0, socket_timeout=5.0)
        self._watches: weakref.WeakSet[RedisWatch] = weakref.WeakSet()
        self._poll_seconds = poll_seconds
        self._lock = threading.Lock()
        self._listener: threading.Thread | None = None
        self._closed = threading.Event()
        self.connected = threading.Event()

    def publish(self, topic: str) -> None:
        try:
            self._client.publish(_CHANNEL + topic, b"")
        except redis.RedisError as error:
            _log.warning("no nudge for %s: %s", topic, error)

    def watch(self, topic: str) -> "RedisWatch":
        watch = RedisWatch(topic, self.connected, self._poll_seconds)
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


class RedisWatch:
    """One reader's view of one topic (`control.bus.Watch`)."""

    def __init__(self, topic: str, connected: threading.Event, poll_seconds: float) -> None:
        self.topic = topic
        self.event = threading.Event()
        self.event.set()
        self._connected = connected
        self._poll_seconds = poll_seconds

    def moved(self) -> bool:
        moved = self.event.is_set() or not self._connected.is_set()
        self.event.clear()
        return moved

    def wait(self, timeout: float) -> bool:
        connected = self._connected.is_set()
        moved = self.event.wait(timeout if connected else min(timeout, self._poll_seconds))
        self.event.clear()
        return moved or not connected
