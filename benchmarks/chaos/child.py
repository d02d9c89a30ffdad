"""A stand-in for a training job: a little SGD that speaks the whole protocol of `detco_core` without importing torch.

`python -m benchmarks.chaos.child VERB [NODE]` in a job's folder: `job.json` in, `events.jsonl` out, checkpoints with
digests, SIGTERM saves and leaves, and what is resumed continues bit for bit. Only runs on the data set `STAND_IN` are
trained so; any other job becomes `python -m detco_core VERB job.json`, the real one.

Every attempt says its fence with its metrics, so that rows written under another's fence can be told, and enters each
step in a ledger outside the service, so that two attempts at work at the same time can be told.
"""

import hashlib
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.events import (
    EXIT_STOPPED,
    ArtifactSaved,
    Body,
    CheckpointSaved,
    Event,
    Finished,
    Metrics,
    Progress,
    Started,
    Stopped,
    encode,
)
from detco_core.runtime.parent import watch_parent

STAND_IN = "stand-in"
"""Name of the data set that marks a run as one of this job's."""
STEP_SECONDS = "CHAOS_STEP_SECONDS"
LEDGER = "CHAOS_LEDGER"
"""Variables the benchmark sets; none of them means anything to the service."""
UNWATCHED = "CHAOS_UNWATCHED"
"""Set by a sabotage: the job does not watch who started it."""
WEIGHTS = "weights"
"""Name of the artifact that every run ends with."""

_FEATURES = 16
_SAMPLES = 64


@dataclass
class Model:
    """Linear regression by SGD with momentum, all of it given by a seed and a number of steps."""

    seed: int
    step: int = 0
    weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(_FEATURES))
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(_FEATURES))

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        self._inputs = random.normal(size=(_SAMPLES, _FEATURES))
        self._targets = (self._inputs * random.normal(size=_FEATURES)).sum(1)

    def advance(self) -> float:
        """One step; returns its loss."""
        self.step += 1
        batch = np.random.default_rng((self.seed, self.step)).choice(_SAMPLES, 8, replace=False)
        # Sums of products, not a matrix product: its order of summation is the library's own affair.
        errors = (self._inputs[batch] * self.weights).sum(1) - self._targets[batch]
        gradient = (self._inputs[batch] * errors[:, None]).sum(0) / len(batch)
        self.velocity = 0.9 * self.velocity + gradient
        self.weights = self.weights - 0.05 * self.velocity
        return float((errors**2).mean())

    def dump(self) -> bytes:
        return np.concatenate([[float(self.step)], self.weights, self.velocity]).tobytes()

    def load(self, content: bytes) -> None:
        numbers = np.frombuffer(content)
        self.step, self.weights, self.velocity = int(numbers[0]), numbers[1 : _FEATURES + 1], numbers[_FEATURES + 1 :]


def weights_after(seed: int, steps: int) -> bytes:
    """What an undisturbed run ends with."""
    model = Model(seed)
    for _ in range(steps):
        model.advance()
    return model.weights.tobytes()


class Training:
    """One attempt."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._train = job["config"]["train"]
        self._pause = float(os.environ.get(STEP_SECONDS, "0.1"))
        self._fence = float(os.environ.get("DETCO_FENCE", "0"))
        self._mark = f"{job['run']} {self._fence:.0f} {os.getpid()}"
        self._ledger = Path(os.environ.get(LEDGER, os.devnull)).open("ab", buffering=0)  # noqa: SIM115 - for life
        self._events = Path("events.jsonl").open("ab", buffering=0)  # noqa: SIM115 - for life
        self._seq = 0
        self._model = Model(job["config"]["seed"])
        self._resumed: int | None = None
        self._saved = 0
        if job["resume"] is not None:
            content = Path(job["resume"]).read_bytes()
            if _digest(content) != job["resume_sha256"]:
                raise ValueError("the checkpoint to resume from is not what it was named")
            self._model.load(content)
            self._resumed = self._model.step

    def run(self, stop: threading.Event) -> int:
        self._emit(Started(environment={"fence": self._fence, "pid": os.getpid()}, resumed_from=self._resumed))
        while self._model.step < self._train["steps"]:
            self._step()
            if stop.is_set():
                if self._model.step != self._saved:
                    self._save_checkpoint()
                self._emit(Stopped(step=self._model.step))
                return EXIT_STOPPED
        if self._model.step % self._train["checkpoint_every"]:
            self._save_checkpoint()
        self._emit(ArtifactSaved(name=WEIGHTS, **_save(WEIGHTS, self._model.weights.tobytes())))
        self._emit(Finished(step=self._model.step))
        return 0

    def _step(self) -> None:
        time.sleep(self._pause)
        loss, step = self._model.advance(), self._model.step
        self._ledger.write(f"{self._mark} {step} {time.monotonic():.3f}\n".encode())
        self._emit(Progress(step=step, steps=self._train["steps"]))
        self._emit(Metrics(step=step, values={"loss": loss, "fence": self._fence}))
        if step % self._train["checkpoint_every"] == 0:
            self._save_checkpoint()

    def _save_checkpoint(self) -> None:
        saved = _save(f"checkpoint-{self._model.step}.bin", self._model.dump())
        self._emit(CheckpointSaved(step=self._model.step, epoch=0.0, **saved))
        self._saved = self._model.step

    def _emit(self, body: Body) -> None:
        self._seq += 1
        self._events.write(encode(Event(self._seq, time.time(), body)).encode() + b"\n")


def _save(name: str, content: bytes) -> dict[str, Any]:
    part = Path(f"{name}.part")
    part.write_bytes(content)
    part.rename(name)
    return {"path": name, "bytes": len(content), "sha256": _digest(content)}


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def main(verb: str, node: str = "0") -> int:
    job = json.loads(Path("job.json").read_text("utf-8"))
    if verb != "pretrain" or not job["dataset"]["name"].startswith(f"{STAND_IN}@"):
        command = [sys.executable, "-m", "detco_core", verb, "job.json"]
        os.execv(sys.executable, command)  # noqa: S606 - a list, no shell
    if UNWATCHED not in os.environ:
        watch_parent()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if os.environ.get("RANK", "0") == "0" and node == "0":
        return Training(job).run(stop)
    # The others only keep the first company, as long as it lives; on another host they are told that it is over.
    while not (stop.wait(0.1) or Path(WEIGHTS).exists()):
        pass
    return EXIT_STOPPED if stop.is_set() else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
