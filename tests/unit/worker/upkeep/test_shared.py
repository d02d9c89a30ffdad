"""What the main process says is seen by processes forked from it."""

import os

from control.records.scheduling.workers import WorkerIdentity
from worker.upkeep.shared import Shared


def test_says_nothing_at_first() -> None:
    assert not Shared("host").is_stopping()


def test_a_fork_sees_what_is_said_later() -> None:
    shared = Shared("host")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(read, 1)
        os._exit(0 if shared.is_stopping() and shared.identity().id == "wkr_2" else 1)
    shared.become(WorkerIdentity(id="wkr_1_with_a_longer_name", host="host"))
    shared.become(WorkerIdentity(id="wkr_2", host="host"))
    shared.stop()
    os.write(write, b"x")
    assert os.waitpid(child, 0)[1] == 0
    os.close(read)
    os.close(write)
    assert shared.identity() == WorkerIdentity(id="wkr_2", host="host")
