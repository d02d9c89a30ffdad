"""The watch on the runner, with real processes and pipes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from detco_core.runtime.parent import ENVIRONMENT, EXIT_ORPHANED, LAUNCHED

WATCHED = "import time; from detco_core.runtime.parent import watch_parent; watch_parent(); print('up', flush=True); "
SLEEP = WATCHED + "time.sleep(60)"
LEAVE = WATCHED + "time.sleep(0.2)"


def start(code: str, descriptor: int | None, value: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, ENVIRONMENT: value, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=() if descriptor is None else (descriptor,),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def test_ends_when_the_runner_is_gone() -> None:
    read, write = os.pipe()
    with start(SLEEP, read, str(read)) as process:
        os.close(read)
        assert process.poll() is None
        os.close(write)
        assert process.wait(120) == EXIT_ORPHANED


def test_a_grandchild_without_the_descriptor_finds_it_in_its_parent() -> None:
    """As under torchrun, whose processes inherit no descriptors."""
    read, write = os.pipe()
    os.set_inheritable(read, False)
    with start(SLEEP, None, str(read)) as process:
        assert process.poll() is None
        os.close(write)
        assert process.wait(120) == EXIT_ORPHANED
    os.close(read)


@pytest.mark.parametrize("value", ["", "nonsense", "-1", "987654"])
def test_without_a_runner_nothing_happens(value: str) -> None:
    with start(LEAVE, None, value) as process:
        assert process.wait(120) == 0


def test_a_descriptor_that_is_no_pipe_is_left_alone(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, start(LEAVE, file.fileno(), str(file.fileno())) as process:
        assert process.wait(120) == 0


@pytest.mark.parametrize(("launched", "ends"), [({LAUNCHED: "run_1-1"}, True), ({}, False)])
def test_a_rank_whose_launcher_died_before_it_could_look_ends_at_once(launched: dict[str, str], ends: bool) -> None:
    """Both would be orphans, of whatever process of this machine adopts them; only a rank is known to have had one."""
    rank = """
import os, select
told, tell = os.pipe()
launcher = os.fork()
if launcher:
    os._exit(0)
os.close(tell)
select.select([told], [], [])  # until the launcher has ended
from detco_core.runtime.parent import watch_parent
watch_parent()
print("stayed", flush=True)
"""
    environment = {**os.environ, ENVIRONMENT: "987654", "PYTHONPATH": os.pathsep.join(sys.path)} | launched
    done = subprocess.run([sys.executable, "-c", rank], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == ("" if ends else "stayed\n")
