"""Process trees are found and ended whole, whatever they do."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.processes import is_alive
from worker.processes import (
    Leash,
    Mark,
    become_subreaper,
    descendants,
    dying_with_parent,
    is_let_go,
    marked,
    of_worker,
    reap_orphans,
    require_parent,
    signal_all,
    start,
    sweep,
)

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
# A child that starts a stubborn grandchild in a session of its own, says its id, and leaves it.
ORPHANING = f"""
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", {STUBBORN!r}], start_new_session=True, stdout=subprocess.DEVNULL).pid)
"""


@pytest.fixture
def marks(tmp_path: Path) -> Iterator[Mark]:
    mark = Mark(f"run_{tmp_path.name}_{os.getpid()}", 7)
    yield mark
    sweep(lambda: marked(mark))


def python(code: str, mark: Mark | None = None, **more: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **(mark.environment() if mark else {}), **more}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)


def first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    with process.stdout:
        return process.stdout.readline().decode().strip()


def wait_gone(pid: int) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not is_alive(pid):
            return True
        time.sleep(0.02)
    return False


class TestLeash:
    def test_holds_until_let_go(self) -> None:
        leash = Leash()
        assert not is_let_go(leash.fd)
        leash.let_go()
        leash.let_go()
        assert is_let_go(leash.fd)
        leash.started()

    def test_opens_when_the_holder_is_killed(self, marks: Mark, tmp_path: Path) -> None:
        holder = f"""
import os, sys, time
from pathlib import Path
from worker.processes import Leash, start
leash = Leash()
code = "import sys; from worker.processes import is_let_go; sys.exit(0 if is_let_go(int(sys.argv[1]), 60) else 1)"
command = [sys.executable, "-c", code, str(leash.fd)]
start(command, folder=Path({str(Path.cwd())!r}), environment=os.environ, leash=leash)
print("up", flush=True)
time.sleep(60)
"""
        process = python(holder, marks)
        assert first_line(process) == "up"
        dog = next(p for p in marked(marks) if p.pid != process.pid)
        assert dog.is_running()
        process.kill()
        process.wait()
        assert wait_gone(dog.pid)


class TestStart:
    def test_runs_in_its_folder_and_session_with_its_output(self, tmp_path: Path) -> None:
        leash = Leash()
        code = "import os; print(os.getcwd(), os.getsid(0) == os.getpid(), os.environ['X'])"
        with (tmp_path / "out").open("wb") as out:
            command = [sys.executable, "-c", code]
            process = start(command, folder=tmp_path, environment={"X": "1"}, leash=leash, output=out.fileno())
        assert process.wait() == 0
        leash.let_go()
        assert (tmp_path / "out").read_text().split() == [str(tmp_path), "True", "1"]

    def test_dying_with_parent_becomes_the_command(self) -> None:
        done = subprocess.run(dying_with_parent(["printf", "%s|", "a b", "c"]), capture_output=True, check=True)
        assert done.stdout == b"a b|c|"

    def test_dies_with_its_parent(self, marks: Mark) -> None:
        code = """
import subprocess, time
from worker.processes import dying_with_parent
print(subprocess.Popen(dying_with_parent(["sleep", "60"])).pid, flush=True)
time.sleep(60)
"""
        parent = python(code, marks)
        child = int(first_line(parent))
        deadline = time.monotonic() + 20
        while psutil.Process(child).name() != "sleep" and time.monotonic() < deadline:
            time.sleep(0.02)
        parent.kill()
        parent.wait()
        assert wait_gone(child)


class TestSweep:
    def test_ends_orphans_in_sessions_of_their_own_that_ignore_sigterm(self, marks: Mark) -> None:
        code = f"""
import subprocess, sys
from worker.processes import become_subreaper, descendants, reap_orphans, sweep
become_subreaper()
child = subprocess.run([sys.executable, "-c", {ORPHANING!r}], stdout=subprocess.PIPE, check=True)
assert [p.pid for p in descendants()] == [int(child.stdout)], descendants()
left = sweep()
reap_orphans()
print(child.stdout.decode().strip(), len(left), len(descendants()), flush=True)
"""
        process = python(code, marks)
        orphan, left, remaining = map(int, first_line(process).split())
        assert process.wait() == 0
        assert (left, remaining) == (0, 0)
        assert wait_gone(orphan)
        assert not marked(marks)

    def test_ends_marked_processes_that_are_nobodys_children(self, marks: Mark) -> None:
        process = python(ORPHANING, marks)
        orphan = int(first_line(process))
        process.wait()
        assert [p.pid for p in marked(marks)] == [orphan]
        assert sweep(lambda: marked(marks)) == []
        assert wait_gone(orphan)

    def test_says_what_survives(self, marks: Mark) -> None:
        process = python(STUBBORN, marks)
        first_line(process)
        survivors = sweep(lambda: marked(marks), timeout=-1)
        assert [p.pid for p in survivors] == [process.pid]
        process.kill()
        process.wait()

    def test_gone_processes_are_no_error(self) -> None:
        process = python("")
        gone = psutil.Process(process.pid)
        process.communicate()
        signal_all([gone], signal.SIGTERM)
        assert descendants(process.pid) == []


class TestMarks:
    def test_other_marks_are_not_found(self, marks: Mark) -> None:
        process = python(STUBBORN, marks)
        first_line(process)
        assert [p.pid for p in marked(marks)] == [process.pid]
        assert marked(Mark(marks.run, marks.fence + 1)) == []
        process.kill()
        process.wait()
        assert marked(marks) == []

    def test_processes_of_a_worker(self) -> None:
        process = python(STUBBORN, DETCO_WORKER="worker-of-this-test")
        first_line(process)
        assert [p.pid for p in of_worker("worker-of-this-test")] == [process.pid]
        process.kill()
        process.wait()


def test_reaping_without_children_is_no_error() -> None:
    become_subreaper()
    reap_orphans()


def test_a_parent_that_is_there_is_nothing_to_leave_for() -> None:
    require_parent(os.getppid())


def test_who_was_forked_by_a_process_that_is_gone_leaves() -> None:
    code = """
import os, select
from worker.processes import require_parent
parent, (told, tell) = os.getpid(), os.pipe()
if os.fork():
    os._exit(0)
os.close(tell)
select.select([told], [], [])  # until the parent has ended
print("here", flush=True)
require_parent(parent)
print("stayed", flush=True)
"""
    process = python(code)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.read() == b"here\n"
    assert process.wait() == 0
