"""Stand-ins are told queue and worker, and end when their leash is let go."""

import sys
import time
from pathlib import Path

import pytest

from control.records.scheduling.workers import WorkerIdentity
from worker.upkeep.standins import StandIns

WAITS = """
import os, sys
from pathlib import Path
Path("saying").write_text(" ".join(sys.argv[1:4]))
Path("saying").rename("told")
os.read(int(sys.argv[4]), 1)
"""
IDENTITY = WorkerIdentity(id="wkr_1", host="host")


@pytest.fixture
def stand_ins(tmp_path: Path) -> StandIns:
    return StandIns(tmp_path, [sys.executable, "-c", WAITS])


def test_it_works_in_the_workers_name_until_let_go(stand_ins: StandIns, tmp_path: Path) -> None:
    stand_ins.start("gpu", IDENTITY)
    deadline = time.monotonic() + 20
    while not (tmp_path / "told").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert stand_ins.tend() == 1
    assert (tmp_path / "told").read_text() == "gpu wkr_1 host"
    stand_ins.let_go()
    stand_ins.let_go()
    while stand_ins.tend():
        assert time.monotonic() < deadline
        time.sleep(0.01)
