from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty

import pytest

from control.broker import Channel
from control.jobs import make_celery
from control.settings import load_settings

Opening = Callable[[], Channel]


@pytest.fixture
def channel(tmp_path: Path) -> Opening:
    """Opens another channel to the same folder, as another process would."""

    def open_one() -> Channel:
        made = make_celery(load_settings(data_dir=tmp_path)).connection_for_write().channel()
        assert isinstance(made, Channel)
        return made

    return open_one


def taken(channel: Channel, queue: str) -> list[int]:
    found = []
    while True:
        try:
            found.append(channel._get(queue)["n"])
        except Empty:
            return found


def test_messages_come_out_in_order_and_by_queue(channel: Opening, tmp_path: Path) -> None:
    writer, reader = channel(), channel()
    for number in range(5):
        writer._put("gpu", {"n": number})
    writer._put("cpu", {"n": 9})
    assert taken(reader, "gpu") == list(range(5))
    assert taken(reader, "gpu") == []
    assert taken(reader, "cpu") == [9]
    assert [path for path in (tmp_path / "broker").rglob("*") if path.is_file()] == []


def test_every_message_is_taken_once_and_whole(channel: Opening) -> None:
    channels = [channel() for _ in range(8)]

    def write(number: int) -> list[int]:
        for n in range(100):
            channels[number]._put("gpu", {"n": number * 1000 + n, "filler": "x" * 5000})
        return []

    def read(number: int) -> list[int]:
        found: list[int] = []
        for _ in range(60):
            found += taken(channels[4 + number], "gpu")
        return found

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(write, n) for n in range(4)] + [pool.submit(read, n) for n in range(4)]
        read_back = [n for job in jobs for n in job.result()]
    read_back += taken(channels[0], "gpu")
    assert Counter(read_back) == Counter(number * 1000 + n for number in range(4) for n in range(100))


def test_what_killed_processes_left_is_forgotten_in_time(
    channel: Opening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel()
    left = tmp_path / "broker" / "processed" / "1_x.gpu.msg"
    left.write_text("taken, and not read")
    channel()
    assert left.exists()
    monkeypatch.setattr("control.broker.LEFT_SECONDS", -1.0)
    channel()
    assert not left.exists()


def test_a_message_being_written_is_not_seen(channel: Opening, tmp_path: Path) -> None:
    reader = channel()
    (tmp_path / "broker" / "processed" / "1_x.gpu.msg.new").write_text('{"n": ')
    assert taken(reader, "gpu") == []
