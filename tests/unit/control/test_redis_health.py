from collections.abc import Iterator

import pytest
import redis

from control.redis_health import redis_trouble


@pytest.fixture
def evicting(redis_server: redis.Redis) -> Iterator[None]:
    before = str(redis_server.config_get("maxmemory-policy")["maxmemory-policy"])
    redis_server.config_set("maxmemory-policy", "allkeys-lru")
    yield
    redis_server.config_set("maxmemory-policy", before)


def test_one_that_refuses_what_it_has_no_room_for_is_well(redis_url: str) -> None:
    assert redis_trouble(redis_url) is None


@pytest.mark.usefixtures("evicting")
def test_one_that_evicts_is_named_with_the_remedy(redis_url: str) -> None:
    trouble = redis_trouble(redis_url)
    assert trouble is not None
    assert "allkeys-lru" in trouble
    assert "set maxmemory-policy noeviction" in trouble


def test_one_that_does_not_answer_is_no_catastrophe() -> None:
    trouble = redis_trouble("redis://127.0.0.1:9/0", timeout=0.5)
    assert trouble is not None
    assert "does not answer" in trouble
