from pathlib import Path

import pytest

from worker.host.oom import oom_kills


@pytest.mark.parametrize(
    ("line", "file", "content"),
    [
        ("0::/pod/job", "pod/job/memory.events", "low 0\noom 5\noom_kill 3\n"),
        ("9:cpu,memory:/job", "memory/job/memory.oom_control", "under_oom 0\noom_kill 3\n"),
    ],
    ids=["v2", "v1"],
)
def test_kills_of_the_machine_and_of_our_group_are_counted(tmp_path: Path, line: str, file: str, content: str) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    (proc / "self").mkdir(parents=True)
    (proc / "vmstat").write_text("nr_free_pages 9\noom_kill 2\n")
    assert oom_kills(proc, groups) == 2
    (proc / "self" / "cgroup").write_text(f"1:name=other:/x\n{line}\n")
    assert oom_kills(proc, groups) == 2
    (groups / file).parent.mkdir(parents=True)
    (groups / file).write_text(content)
    assert oom_kills(proc, groups) == 5


def test_what_cannot_be_read_counts_nothing(tmp_path: Path) -> None:
    assert oom_kills(tmp_path, tmp_path) == 0
    assert oom_kills() >= 0
