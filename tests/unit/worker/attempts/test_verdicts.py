"""What the end of a job means: its last word, what it was told, and how its process ended, row by row."""

from pathlib import Path
from typing import Any

import pytest

from control.bus import PollingBus
from control.db.session import open_engine
from control.records.scheduling.gangs import Trouble
from control.settings import Settings
from control.storage.local import LocalStore
from detco_core.contract.events import Failed, Finished, Stopped
from worker.attempts.lease import Lease
from worker.attempts.orders import Orders
from worker.attempts.verdicts import End, verdict
from worker.output.sink import Ending, Sink
from worker.processes import Leash, Mark

SAVED = Stopped(step=7)


@pytest.fixture
def judge(tmp_path: Path) -> Any:
    """`judge(end, said=None, wanted="run", ...)` gives kind, cause and message."""
    settings = Settings(data_dir=tmp_path, grace_seconds=100.0, idle_seconds=50.0)
    engine, mark, leash = open_engine("sqlite://"), Mark("run_1", 1), Leash()

    def tell(
        end: End,
        said: Ending | None = None,
        *,
        wanted: Any = "run",
        silent: float = 0.0,
        left: float | None = None,
        dismissed: bool = False,
        damaged: str = "",
        trouble: Trouble | None = None,
    ) -> tuple[str, str | None, str]:
        lease = Lease(engine, mark, settings)
        lease.wanted, lease.seconds_left = wanted, left
        orders = Orders(lease, leash.fd, 10.0)
        orders.listen(lambda: silent)
        if dismissed:
            orders.dismiss()
        sink = Sink(engine, LocalStore(tmp_path / "store"), PollingBus(), mark, tmp_path)
        sink.ending, sink.damaged = said, [damaged] if damaged else []
        outcome = verdict(sink, orders, end, trouble)
        return outcome.kind, outcome.cause, outcome.message or ""

    yield tell
    leash.let_go()
    leash.started()
    engine.dispose()


KILLED = End(exit_code=-9)
LEFT = End(exit_code=75)


@pytest.mark.parametrize(
    ("end", "told", "kind", "cause", "words"),
    [
        (End(exit_code=0), {"said": Finished()}, "completed", None, ""),
        (End(exit_code=0), {"said": Finished(), "wanted": "cancel"}, "completed", None, ""),
        (End(exit_code=0, all_taken=False), {"said": Finished()}, "lost", "crashed", "with exit code 0"),
        (End(exit_code=0), {"said": Finished(), "damaged": "c.pt is gone"}, "lost", "crashed", "c.pt is gone"),
        (End(exit_code=1), {"said": Failed(kind="nan", message="loss is NaN")}, "failed", None, "loss is NaN"),
        (KILLED, {}, "lost", "crashed", "by SIGKILL without a last event"),
        (End(exit_code=3), {}, "lost", "crashed", "with exit code 3"),
        (End(exit_code=1, disk_full="D is full"), {}, "lost", "crashed", "code 1 without a last event; D is full"),
        (End(exit_code=-40), {}, "lost", "crashed", "by signal 40"),
        (End(), {}, "lost", "crashed", "could not be ended"),
        (End(exit_code=-9, fault=ValueError("no")), {}, "lost", "crashed", "cannot be kept: no"),
        # The kernel ended some process for lack of memory meanwhile.
        (End(exit_code=-9, oom_killed=True, verb="pretrain"), {}, "lost", "oom_killed", "lower data.workers"),
        (End(exit_code=-9, oom_killed=True, verb="extract"), {}, "lost", "oom_killed", "smaller images (resize)"),
        (End(exit_code=-9, oom_killed=True, verb="export"), {}, "lost", "oom_killed", "a machine with more memory"),
        (
            End(exit_code=1, oom_killed=True),
            {"said": Failed(kind="internal", message="loader died")},
            "failed",
            "oom_killed",
            "loader died; the kernel",
        ),
        (End(exit_code=1, oom_killed=True), {"said": Failed(kind="user", message="bad")}, "failed", None, "bad"),
        (End(exit_code=0, oom_killed=True), {"said": Finished()}, "completed", None, ""),
        # A person asked.
        (LEFT, {"said": SAVED, "wanted": "pause"}, "stopped", None, ""),
        (LEFT, {"said": SAVED, "wanted": "finish"}, "stopped", None, ""),
        (End(began=False), {"wanted": "pause"}, "stopped", None, ""),
        (End(exit_code=-15, began=False), {"wanted": "cancel"}, "stopped", None, ""),
        (KILLED, {"wanted": "kill"}, "stopped", None, "before it had saved"),
        (KILLED, {"wanted": "pause"}, "lost", "crashed", "SIGKILL"),
        (End(), {"wanted": "kill"}, "stopped", None, ""),
        # It had to make room, or its worker leaves.
        (LEFT, {"said": SAVED, "wanted": "preempt"}, "preempted", None, "leave"),
        (KILLED, {"wanted": "preempt"}, "preempted", None, "leave"),
        (LEFT, {"said": SAVED}, "preempted", None, "leave"),
        (KILLED, {"dismissed": True}, "preempted", None, "leave"),
        (End(began=False), {"dismissed": True}, "preempted", None, "leave"),
        # Its own limits.
        (LEFT, {"said": SAVED, "left": 0.0}, "stopped", "time_limit", "used up; it saved at step 7"),
        (KILLED, {"left": 0.0}, "lost", "time_limit", "could not save in time"),
        (End(began=False), {"left": -3.0}, "stopped", "time_limit", "used up; it had not begun"),
        (End(exit_code=0), {"said": Finished(), "left": 0.0}, "completed", None, ""),
        (KILLED, {"silent": 50.0}, "lost", "idle", "it had hung"),
        (LEFT, {"said": SAVED, "silent": 60.0}, "lost", "idle", "it saved at step 7"),
        # What befell another of its hosts.
        (KILLED, {"trouble": Trouble("lost", "node 1 is gone")}, "lost", None, "node 1 is gone"),
        (KILLED, {"trouble": Trouble("left", "node 1 left")}, "preempted", None, "node 1 left"),
        (LEFT, {"said": SAVED, "trouble": Trouble("left", "node 1 left")}, "preempted", None, "leave"),
    ],
)
def test_what_an_end_means(judge: Any, end: End, told: Any, kind: str, cause: str | None, words: str) -> None:
    found = judge(end, told.pop("said", None), **told)
    assert found[:2] == (kind, cause), found
    assert words in found[2]


@pytest.mark.parametrize(("code", "shown"), [(-9, (None, "SIGKILL")), (3, (3, None)), (None, (None, None))])
def test_a_signal_is_no_exit_code(tmp_path: Path, code: int | None, shown: tuple[int | None, str | None]) -> None:
    engine, leash = open_engine("sqlite://"), Leash()
    mark = Mark("run_1", 1)
    orders = Orders(Lease(engine, mark, Settings(data_dir=tmp_path)), leash.fd, 10.0)
    sink = Sink(engine, LocalStore(tmp_path), PollingBus(), mark, tmp_path)
    outcome = verdict(sink, orders, End(exit_code=code))
    assert (outcome.exit_code, outcome.signal) == shown
    leash.started()
    leash.let_go()
    engine.dispose()
