import json
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from celery.contrib.testing.worker import start_worker
from sqlalchemy import Engine, select, update

from control.db.models import OutboxEntry
from control.db.session import database_time, unit_of_work
from control.jobs import QUEUES, WORK, make_celery, relay, wake
from control.settings import Settings, load_settings


@pytest.fixture(params=["files", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "files":
        return load_settings(data_dir=tmp_path)
    return load_settings(data_dir=tmp_path, broker_url=request.getfixturevalue("redis_url"), dataset_roots=("/",))


@pytest.fixture
def unreachable(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path, broker_url="redis://127.0.0.1:9/0", dataset_roots=("/",))


def test_a_wake_up_is_given_away_on_arrival_and_kept_nowhere(settings: Settings) -> None:
    conf = make_celery(settings).conf
    assert not conf.task_acks_late
    assert conf.task_ignore_result
    assert conf.result_backend is None
    assert conf.worker_prefetch_multiplier == 1
    assert conf.accept_content == ["json"]
    assert conf.worker_disable_prefetch == (settings.broker_url is not None)
    assert conf.broker_connection_retry_on_startup
    assert not conf.worker_enable_remote_control
    assert conf.worker_proc_alive_timeout == 60.0
    assert set(conf.task_queues) == set(QUEUES)


def test_rows_1_and_2_a_wake_up_that_was_taken_is_kept_nowhere(settings: Settings) -> None:
    """Else one in the hands of a worker that is killed would lie with the broker, and come again in an hour."""
    celery = make_celery(settings)
    assert wake(celery, "gpu")
    with celery.connection_for_read() as connection:
        assert connection.default_channel.basic_get("gpu") is not None
        assert lying(settings) == 0


def lying(settings: Settings) -> int:
    """Wake-ups with the broker, wherever it may keep them."""
    if settings.broker_url is None:
        return sum(path.is_file() for path in (settings.data_dir / "broker").rglob("*.msg*"))
    with redis.Redis.from_url(settings.broker_url) as client:
        return int(client.llen("gpu")) + int(client.hlen("unacked")) + int(client.zcard("unacked_index"))


def test_the_embedded_broker_lives_in_the_data_folder_and_is_polled_often(tmp_path: Path) -> None:
    options = make_celery(load_settings(data_dir=tmp_path)).conf.broker_transport_options
    assert options["polling_interval"] == 0.1
    assert {path.name for path in (tmp_path / "broker").iterdir()} == {"messages", "processed", "control"}
    assert options["data_folder_in"] == options["data_folder_out"]


@pytest.mark.slow
def test_a_wake_up_reaches_a_worker(settings: Settings) -> None:
    celery, woken, heard = make_celery(settings), [], threading.Event()

    @celery.task(name=WORK, shared=False)  # type: ignore[untyped-decorator]  # celery's
    def work(queue: str) -> None:
        woken.append(queue)
        if len(woken) == 2:
            heard.set()

    with start_worker(celery, pool="solo", perform_ping_check=False, queues=["gpu", "cpu"], loglevel="WARNING"):
        assert wake(make_celery(settings), "gpu")
        assert wake(make_celery(settings), "cpu")
        assert heard.wait(30)
    assert sorted(woken) == ["cpu", "gpu"]


def test_a_broker_that_is_away_fails_nothing(unreachable: Settings, caplog: pytest.LogCaptureFixture) -> None:
    assert not wake(make_celery(unreachable), "gpu")
    assert "the broker took no wake-up for gpu" in caplog.text


def test_an_unknown_queue_is_no_wake_up(tmp_path: Path) -> None:
    assert not wake(make_celery(load_settings(data_dir=tmp_path)), "no-such-queue")


def test_row_14_no_message_waits_for_a_time(engine: Engine, make_run: Callable[..., str], tmp_path: Path) -> None:
    celery = make_celery(load_settings(data_dir=tmp_path))
    make_run()
    with unit_of_work(engine) as session:
        session.execute(update(OutboxEntry).values(due_at=database_time(session) + timedelta(hours=5)))
    assert relay(engine, celery) == 0  # The table waits, not the broker.
    with unit_of_work(engine) as session:
        session.execute(update(OutboxEntry).values(due_at=database_time(session)))
    assert relay(engine, celery) == 1
    (message,) = (tmp_path / "broker" / "messages").iterdir()
    headers = json.loads(message.read_text())["headers"]
    assert (headers["eta"], headers["expires"], headers["retries"]) == (None, None, 0)


def messages(tmp_path: Path) -> list[str]:
    return sorted(path.name.split(".")[1] for path in (tmp_path / "broker" / "messages").iterdir())


def test_the_relay_sends_one_wake_up_for_each_queue_once(
    engine: Engine, make_run: Callable[..., str], tmp_path: Path
) -> None:
    celery = make_celery(load_settings(data_dir=tmp_path))
    make_run()
    make_run()
    make_run(kind="export")
    assert relay(engine, celery) == 2
    assert messages(tmp_path) == ["cpu", "gpu"]
    assert relay(engine, celery) == 0
    assert messages(tmp_path) == ["cpu", "gpu"]


def test_what_the_broker_did_not_take_is_sent_later(
    engine: Engine, make_run: Callable[..., str], unreachable: Settings, tmp_path: Path
) -> None:
    make_run()
    assert relay(engine, make_celery(unreachable)) == 0
    with unit_of_work(engine) as session:
        (entry,) = session.scalars(select(OutboxEntry))
        assert (entry.sent_at, entry.tries) == (None, 1)
        session.execute(update(OutboxEntry).values(due_at=database_time(session)))
    assert relay(engine, make_celery(load_settings(data_dir=tmp_path))) == 1
    assert messages(tmp_path) == ["gpu"]
