"""Events on disk: whole lines, numbered without a gap, over restarts and cuts."""

import json
from pathlib import Path

import pytest

from detco_core.contract.events import Finished, Progress, Warned, decode
from detco_core.runtime.reporter import Reporter
from tests.full_disk import small_disk


def lines(folder: Path) -> list[str]:
    return (folder / "events.jsonl").read_text().splitlines()


def test_an_event_is_readable_when_emit_returns(tmp_path: Path) -> None:
    with Reporter(tmp_path) as reporter:
        reporter.emit(Progress(step=1, steps=2))
        assert decode(lines(tmp_path)[0]).body == Progress(step=1, steps=2)
        reporter.emit(Finished(step=2))
        assert [decode(line).seq for line in lines(tmp_path)] == [1, 2]


def test_a_later_process_continues_the_numbers(tmp_path: Path) -> None:
    with Reporter(tmp_path) as first:
        for step in range(3):
            first.emit(Progress(step=step, steps=3))
    with Reporter(tmp_path) as second:
        second.emit(Finished())
    assert [decode(line).seq for line in lines(tmp_path)] == [1, 2, 3, 4]


def emit_steps(reporter: Reporter) -> None:
    for step in range(1, 1000):
        reporter.emit(Progress(step=step, steps=1000))


@pytest.mark.slow
@pytest.mark.mounts
def test_a_full_disk_takes_whole_lines_or_none(tmp_path: Path) -> None:
    """It takes the beginning of a line that crosses into a new block: the next line must not be one with it."""
    with small_disk(tmp_path / "disk", 64) as disk, Reporter(disk.folder) as reporter:
        reporter.emit(Progress(step=0, steps=0))
        disk.fill()
        with pytest.raises(OSError, match="No space left"):
            emit_steps(reporter)
        said = len(lines(disk.folder))
        assert 1 < said < 1000
        disk.make_room()
        reporter.emit(Finished(step=said))
        told = [decode(line) for line in lines(disk.folder)]
        assert [event.seq for event in told] == list(range(1, said + 2))
        assert told[-1].body == Finished(step=said)


@pytest.mark.parametrize("cut", [1, 10, 30])
def test_a_line_cut_by_a_kill_is_replaced(tmp_path: Path, cut: int) -> None:
    with Reporter(tmp_path) as first:
        first.emit(Progress(step=1, steps=3))
        first.emit(Progress(step=2, steps=3))
    path = tmp_path / "events.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    with Reporter(tmp_path) as second:
        second.emit(Progress(step=9, steps=9))
    events = [decode(line) for line in lines(tmp_path)]
    assert [event.seq for event in events] == [1, 2]
    assert events[1].body == Progress(step=9, steps=9)


def test_other_ranks_are_silent(tmp_path: Path) -> None:
    with Reporter(tmp_path, rank=1) as reporter:
        reporter.emit(Finished())
    assert list(tmp_path.iterdir()) == []


def test_makes_its_folder(tmp_path: Path) -> None:
    with Reporter(tmp_path / "a" / "b") as reporter:
        reporter.emit(Finished())
    assert len(lines(tmp_path / "a" / "b")) == 1


def test_close_then_emit_goes_on(tmp_path: Path) -> None:
    with Reporter(tmp_path) as reporter:
        reporter.emit(Warned(code="a", message="é\n"))
        reporter.close()
        reporter.close()
        reporter.emit(Finished())
    assert [json.loads(line)["seq"] for line in lines(tmp_path)] == [1, 2]


def test_text_that_is_no_event_does_not_stop_it(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text("not an event\nnor this\n")
    with Reporter(tmp_path) as reporter:
        reporter.emit(Finished())
    assert decode(lines(tmp_path)[-1]).seq == 3
