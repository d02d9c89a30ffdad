"""Loader processes: none is left behind, and none is lost to a signal meant for the trainer."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from detco_core.data.workers import worker_options

TRAINER = """
import signal, sys
from detco_core.contract.config import DataConfig, MethodConfig, RunConfig, TrainConfig, ViewsConfig
from detco_core.contract.datasets import DatasetRef
from detco_core.data.images import ImageFiles
from detco_core.data.loaders import make_loader
from detco_core.views.pipeline import ViewPipeline

CONFIG = RunConfig(
    train=TrainConfig(epochs=None, steps=100, batch_size=4),
    data=DataConfig(workers=2, decode_short_side=32),
    views=ViewsConfig(global_size=32, local_size=48, patch_size=16),
    method=MethodConfig(queue_size=32),
)

if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: None)
    files = ImageFiles.open(DatasetRef(name="photos@1", kind="images", root=sys.argv[1]))
    pipeline = ViewPipeline(CONFIG.views, local=True)
    loader = make_loader(files, pipeline, CONFIG, rank=0, world=1, start_step=0, steps=100)
    for order in sys.stdin:
        if order == "next\\n":
            print(next(loader).step, flush=True)
        else:
            loader.close()
            print("closed", flush=True)
"""
"""A trainer that takes its orders, `next` or `close`, from standard input and outlives signals, as ours does."""


class Trainer:
    """The script above as a process with a process group of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.seen: list[psutil.Process] = []

    def order(self, order: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def descendants(self) -> list[psutil.Process]:
        self.seen = psutil.Process(self.process.pid).children(recursive=True)
        return self.seen

    def loaders(self) -> list[psutil.Process]:
        """Children of the fork server, which is the child that has any."""
        servers = psutil.Process(self.process.pid).children()
        return [loader for server in servers for loader in server.children()]


@pytest.fixture
def trainer(photos: Path, tmp_path: Path) -> Iterator[Trainer]:
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER)
    command = [sys.executable, str(script), str(photos)]
    # The script's own folder replaces the current one on the path.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(Path.cwd()), *sys.path]))}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, text=True, start_new_session=True, env=environment, stdin=pipe, stdout=pipe
    ) as process:
        trainer = Trainer(process)
        try:
            yield trainer
        finally:
            process.kill()
            for left in trainer.seen:
                with contextlib.suppress(psutil.NoSuchProcess):
                    left.kill()


def test_no_processes_are_asked_for_when_there_are_no_workers() -> None:
    assert worker_options(0) == {"num_workers": 0}


@pytest.mark.slow
def test_group_signals_leave_the_batches_coming_and_closing_ends_the_loaders(trainer: Trainer) -> None:
    assert trainer.order("next") == "0"
    for number, first in ((signal.SIGTERM, 1), (signal.SIGINT, 31)):
        os.killpg(trainer.process.pid, number)
        # More steps than can have been loaded ahead.
        assert [trainer.order("next") for _ in range(30)] == [str(step) for step in range(first, first + 30)]
    loaders, everything = trainer.loaders(), trainer.descendants()
    assert len(loaders) == 2
    assert trainer.order("close") == "closed"
    assert psutil.wait_procs(loaders, timeout=120)[1] == []
    trainer.process.stdin.close()  # type: ignore[union-attr]  # opened as a pipe
    assert trainer.process.wait(timeout=120) == 0
    assert psutil.wait_procs(everything, timeout=120)[1] == []


@pytest.mark.slow
def test_leaving_without_closing_leaves_nothing(trainer: Trainer) -> None:
    trainer.order("next")
    everything = trainer.descendants()
    trainer.process.stdin.close()  # type: ignore[union-attr]  # opened as a pipe
    assert trainer.process.wait(timeout=120) == 0
    assert psutil.wait_procs(everything, timeout=120)[1] == []


@pytest.mark.slow
def test_a_killed_trainer_leaves_nothing(trainer: Trainer) -> None:
    trainer.order("next")
    everything = trainer.descendants()
    assert len(everything) >= 3
    trainer.process.kill()
    assert psutil.wait_procs(everything, timeout=120)[1] == []
