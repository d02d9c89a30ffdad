"""The bare runtime in a process of its own: runs a picture so many times as it is told, and says what that took.

    python -m benchmarks.serving.floor MODEL SIDE PICTURE DEVICE

A line of its input is a number of images; the line it answers is JSON, seconds of wall and processor time.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.machine import ROOT
from benchmarks.serving.bare import Bare
from benchmarks.serving.target import Spent


class Floor:
    """Asks that process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, images: int) -> Spent:
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(f"{images}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process of the bare runtime has ended; see its message above")
        return Spent(**json.loads(line), images=images)


@contextmanager
def floor(model: Path, side: int, picture: Path, device: str = "cpu") -> Iterator[Floor]:
    """A warm one; ends with the block."""
    command = [sys.executable, "-m", "benchmarks.serving.floor", str(model), str(side), str(picture), device]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        asked = Floor(process)
        try:
            asked.run(3)
            yield asked
        finally:
            process.kill()


def main(model: str, side: str, picture: str, device: str = "cpu") -> None:
    bare, image = Bare(Path(model), int(side), device), Path(picture).read_bytes()
    for line in sys.stdin:
        began, cpu = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            bare.answer(image)
        took = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
        print(json.dumps(took), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
