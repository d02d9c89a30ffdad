"""The tail takes whole lines only, takes each once, and is not stopped by damage."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detco_core.contract.events import Event, Progress, encode
from worker.output.tail import Tail


def line(seq: int) -> bytes:
    return encode(Event(seq, 1.0, Progress(step=seq, steps=10))).encode() + b"\n"


def take(tail: Tail) -> list[int]:
    """Read and keep, as a sink does; the seqs read."""
    lines = tail.read()
    if lines:
        tail.offset = lines[-1].end
    return [found.event.seq for found in lines]


def test_a_missing_file_has_no_events(tmp_path: Path) -> None:
    assert Tail(tmp_path / "events.jsonl").read() == []


def test_a_torn_line_waits_for_its_rest(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    second = line(2)
    path.write_bytes(line(1) + second[:10])
    tail = Tail(path)
    assert take(tail) == [1]
    assert take(tail) == []
    path.write_bytes(line(1) + second)
    assert take(tail) == [2]


def test_reading_again_gives_the_same_until_kept(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(line(1) + line(2))
    tail = Tail(path)
    assert tail.read() == tail.read()
    first, second = tail.read()
    assert (first.start, first.end, second.start, second.end) == (0, len(line(1)), len(line(1)), path.stat().st_size)


def test_starts_at_an_offset(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(line(1) + line(2))
    assert take(Tail(path, offset=len(line(1)))) == [2]


@pytest.mark.parametrize(
    "damage", [b"garbage\n", b"\xff\xfe\n", b'{"seq":1}\n', b"\n", b'{"seq":3,"type":"x","time":1}\n']
)
def test_damaged_lines_are_left_out(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(damage)
    tail = Tail(path)
    assert take(tail) == []
    assert tail.offset == len(damage)
    path.write_bytes(damage + line(1) + damage + line(2) + damage)
    assert take(tail) == [1, 2]


def test_batches_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(map(line, range(1, 6))))
    reader = Tail(path, max_batch=2)
    assert [take(reader) for _ in range(4)] == [[1, 2], [3, 4], [5], []]


def test_an_endless_line_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"x" * 2500 + b"\n" + line(1))
    reader = Tail(path, max_line=1000)
    assert [seq for _ in range(5) for seq in take(reader)] == [1]


@given(cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_however_the_file_grows_each_event_comes_once(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("tail") / "events.jsonl"
    content = b"".join(map(line, range(1, 21)))
    tail, taken = Tail(path), list[int]()
    for cut in [*sorted(cuts), len(content)]:
        path.write_bytes(content[:cut])
        taken += take(tail)
    assert taken == list(range(1, 21))
