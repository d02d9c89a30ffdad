import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from control.redis_bus import RedisBus


@pytest.fixture
def redis_bus(redis_url: str) -> Iterator[RedisBus]:
    bus = RedisBus(redis_url)
    yield bus
    bus.close()


def eventually(condition: Callable[[], bool]) -> bool:
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_a_nudge_reaches_who_watches_its_topic(redis_bus: RedisBus, redis_url: str) -> None:
    watch, other = redis_bus.watch("run:1"), redis_bus.watch("run:2")
    assert watch.moved(), "the first look is always worth it"
    assert redis_bus.connected.wait(10)
    assert eventually(lambda: not watch.moved() and not other.moved())
    publisher = RedisBus(redis_url)
    publisher.publish("run:1")
    assert watch.wait(10)
    assert not watch.moved()
    assert not other.moved()
    assert not other.wait(0.01)
    publisher.close()


def test_one_nudge_wakes_all_who_wait(redis_bus: RedisBus) -> None:
    watches = [redis_bus.watch("topic") for _ in range(3)]
    assert redis_bus.connected.wait(10)
    assert eventually(lambda: sum(watch.moved() for watch in watches) == 0)
    woken: list[bool] = []
    threads = [threading.Thread(target=lambda watch=watch: woken.append(watch.wait(10))) for watch in watches]
    for thread in threads:
        thread.start()
    redis_bus.publish("topic")
    for thread in threads:
        thread.join()
    assert woken == [True, True, True]


def test_without_redis_watches_poll_and_nothing_is_raised() -> None:
    bus = RedisBus("redis://127.0.0.1:9/0")
    watch = bus.watch("topic")
    bus.publish("topic")
    assert watch.moved()
    assert watch.moved()
    assert watch.wait(60)
    bus.close()


def test_a_lost_connection_is_taken_up_again(redis_bus: RedisBus, redis_server: Any) -> None:
    watch = redis_bus.watch("topic")
    assert redis_bus.connected.wait(10)
    assert eventually(lambda: not watch.moved())
    redis_server.client_kill_filter(_type="pubsub")
    assert watch.wait(10), "who watches is told to look, since nudges may have been missed"
    assert redis_bus.connected.wait(10)
    assert eventually(lambda: not watch.moved())
    redis_bus.publish("topic")
    assert watch.wait(10)


def test_watches_are_let_go(redis_bus: RedisBus) -> None:
    redis_bus.watch("topic")
    assert len(redis_bus._watches) == 0
