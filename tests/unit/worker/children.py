"""A stand-in for `python -m detco_core`: speaks the events protocol, is quick, and misbehaves on request.

Run as `children.py VERB` in a job's folder. Of the job's config it takes `train.steps`, `train.checkpoint_every`,
`optim.lr` as the seconds a step takes, and `preset` as how to behave (`BEHAVIOURS`). Its "weights" are a chain of
digests, so that they equal an undisturbed run's only if every step was made exactly once. While a file `hold` lies
beside the run's attempts, it does not make its last step: there is always time to disturb it (`hold` in `house.py`).

`children.py runner ...`, `stand_in ...` and `worker ...` are the real ones, with this job.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from detco_core.contract.events import (
    EXIT_STOPPED,
    ArtifactSaved,
    Body,
    CheckpointSaved,
    Event,
    Failed,
    Finished,
    Metrics,
    Progress,
    Reported,
    Started,
    Stopped,
    encode,
)
from detco_core.runtime.parent import watch_parent
from worker.launch import Post

GRANDCHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
HOLD = Path("../hold")
stop = threading.Event()


class Reporter:
    """Appends events to `events.jsonl`."""

    def __init__(self) -> None:
        self.seq = 0
        self.file = Path("events.jsonl").open("ab", buffering=0)  # noqa: SIM115 - open as long as the process lives

    def emit(self, body: Body) -> None:
        self.seq += 1
        self.file.write(encode(Event(self.seq, time.time(), body)).encode() + b"\n")


def save(folder: str, name: str, content: bytes) -> tuple[str, int, str]:
    """Write a file whole; its relative path, size and digest."""
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.rename(path)
    return str(path), len(content), "sha256:" + hashlib.sha256(content).hexdigest()


def advance(state: str, step: int) -> str:
    """One step of "training"."""
    return hashlib.sha256(f"{state}/{step}".encode()).hexdigest()


def weights_after(steps: int) -> str:
    """The "weights" of an undisturbed run."""
    state = ""
    for step in range(1, steps + 1):
        state = advance(state, step)
    return state


def spawn_grandchildren(count: int = 2) -> None:
    """Processes in sessions of their own that ignore SIGTERM, one of them orphaned at once."""
    for _ in range(count):
        subprocess.Popen([sys.executable, "-c", GRANDCHILD], start_new_session=True)
    script = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {GRANDCHILD!r}], start_new_session=True)"
    subprocess.run([sys.executable, "-c", script], check=True)


def die(number: signal.Signals = signal.SIGKILL) -> NoReturn:
    os.kill(os.getpid(), number)
    time.sleep(60)
    raise AssertionError("still alive")


class Pretraining:
    """Makes steps until it is done or asked to stop."""

    def __init__(self, job: dict[str, Any], reporter: Reporter) -> None:
        self.train = job["config"]["train"]
        self.pause = job["config"]["optim"]["lr"]
        self.behaviour = job["config"]["preset"]
        self.reporter = reporter
        self.step, self.state = 0, ""
        self.resumed = None
        if job["resume"] is not None:
            content = Path(job["resume"]).read_bytes()
            assert "sha256:" + hashlib.sha256(content).hexdigest() == job["resume_sha256"]
            self.step, self.state = json.loads(content)
            self.resumed = self.step

    def run(self) -> int:
        self.reporter.emit(Started(environment={"version": "fake"}, resumed_from=self.resumed))
        sys.stdout.write("the fake job begins\n")
        sys.stdout.flush()
        self.misbehave("start")
        while self.step < self.train["steps"]:
            if self.is_stopped_while_held():
                return self.leave()
            self.one_step()
            if stop.is_set() and self.behaviour != "ignores_term":
                return self.leave()
            self.misbehave("step")
        if self.step % self.train["checkpoint_every"]:
            self.checkpoint()
        self.reporter.emit(ArtifactSaved(name="weights", **_named(save(".", "weights", self.state.encode()))))
        self.reporter.emit(Finished(step=self.step))
        return 0

    def is_stopped_while_held(self) -> bool:
        while self.step + 1 == self.train["steps"] and HOLD.exists():
            if stop.wait(0.01):
                return True
        return False

    def one_step(self) -> None:
        time.sleep(self.pause)
        self.step += 1
        self.state = advance(self.state, self.step)
        self.reporter.emit(Progress(step=self.step, steps=self.train["steps"]))
        self.reporter.emit(Metrics(step=self.step, values={"loss": 1.0 / self.step}))
        if self.step % self.train["checkpoint_every"] == 0:
            self.checkpoint()

    def checkpoint(self) -> None:
        content = json.dumps([self.step, self.state]).encode()
        saved = save("checkpoints", f"step-{self.step:08d}.pt", content)
        self.reporter.emit(CheckpointSaved(step=self.step, epoch=0.0, **_named(saved)))

    def leave(self) -> int:
        self.checkpoint()
        self.reporter.emit(Stopped(step=self.step))
        return EXIT_STOPPED

    def misbehave(self, moment: str) -> None:
        once = self.resumed is None and self.step == self.train["checkpoint_every"] + 1
        if moment == "start":
            if self.behaviour in ("leaves_grandchildren", "ignores_term"):
                spawn_grandchildren()
        elif once and self.behaviour in BEHAVIOURS:
            BEHAVIOURS[self.behaviour](self)


def _named(saved: tuple[str, int, str]) -> dict[str, Any]:
    return dict(zip(("path", "bytes", "sha256"), saved, strict=True))


def _fails(kind: Any) -> Callable[[Pretraining], None]:
    def fail(job: Pretraining) -> None:
        job.reporter.emit(Failed(kind=kind, message=f"a fake error of kind {kind}"))
        sys.exit(1)

    return fail


def _dies_in_a_line(job: Pretraining) -> None:
    job.reporter.file.write(b'{"seq":99,"time":1.0,"type":"fini')
    die()


BEHAVIOURS: dict[str, Callable[[Pretraining], None]] = {
    "dies": lambda job: die(),
    "dies_in_a_line": _dies_in_a_line,
    "user": _fails("user"),
    "nan": _fails("nan"),
    "internal": _fails("internal"),
    "exits": lambda job: sys.exit(3),
    "hangs": lambda job: time.sleep(600),
}
"""What happens once, one step after the first checkpoint; a resumed attempt behaves."""


def check(job: dict[str, Any], reporter: Reporter) -> int:
    """A scan that finds one picture."""
    reporter.emit(Started(environment={}))
    line = {"path": "a.jpg", "bytes": 1, "width": 2, "height": 3, "channels": 3, "label": None, "split": None}
    path, size, sha256 = save(".", "manifest.jsonl", json.dumps(line).encode() + b"\n")
    reporter.emit(ArtifactSaved(name="manifest.jsonl", path=path, bytes=size, sha256=sha256))
    found = {"digest": sha256, "images": 1, "bytes": 1, "splits": {"": 1}, "labels": {}, "channels": {"3": 1}}
    reporter.emit(Reported(report={**found, "width": [2, 2, 2], "height": [3, 3, 3], "broken": []}))
    reporter.emit(Finished())
    return 0


def job(verb: str, node: str = "0") -> int:
    watch_parent()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if os.environ.get("RANK", "0") != "0" or node != "0":  # the others only keep the first company
        sys.stdout.write(f"node {node} is here\n")
        sys.stdout.flush()
        while not (stop.wait(0.05) or Path("weights").exists()):
            pass
        return EXIT_STOPPED if stop.is_set() else 0
    document = json.loads(Path("job.json").read_text())
    reporter = Reporter()
    return check(document, reporter) if verb == "check" else Pretraining(document, reporter).run()


def fake_command(verb: str, processes: int = 1, post: Post | None = None) -> list[str]:
    """What `worker.launch.job_command` is for the real job; on several hosts without a launcher."""
    if post is not None:
        return [sys.executable, __file__, verb, str(post.node)]
    if processes == 1:
        return [sys.executable, __file__, verb]
    launcher = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}")
    return [sys.executable, *launcher, __file__, verb]


def stop_newborns() -> None:
    """Every process that this one forks stops before it does anything, all but the first."""
    forks: list[None] = []

    def born() -> None:
        if len(forks) > 1:
            os.kill(os.getpid(), signal.SIGSTOP)

    os.register_at_fork(before=lambda: forks.append(None), after_in_child=born)


def runner(arguments: list[str]) -> int:
    from control import tracing
    from worker.runner import main

    tracing.END_SECONDS = 60.0  # spans are waited for, however busy the machine
    return main(arguments, fake_command)


def stand_in(arguments: list[str]) -> int:
    from worker.tasks import main

    return main(arguments, (sys.executable, __file__, "runner"))


def worker(arguments: list[str]) -> int:
    from worker.__main__ import main

    if os.environ.get("DETCO_TEST_NEWBORN") == "stops":
        stop_newborns()
    own = (sys.executable, __file__)
    return main(arguments, runner=(*own, "runner"), stand_in=(*own, "stand_in"))


if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    doors = {"runner": runner, "stand_in": stand_in, "worker": worker}
    sys.exit(doors[verb](arguments) if verb in doors else job(verb, *arguments))
