"""Listing, describing, opening and sampling a data set of millions of files: seconds, memory and bytes.

    python -m benchmarks.data --files 2000000

Each stage is a process of its own, so that its peak memory is its own. The files are made up and hold nothing: what is
measured is what is kept about them, not reading or decoding them. Memory is what the stage added to its process
(private pages: `RssAnon`, and its peak), since mapped files are the kernel's to take back.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.machine import describe
from detco_core.contract.datasets import DatasetFile
from detco_core.data.file_table import TableBuilder, tabulate
from detco_core.data.manifest import read_manifest, write_manifest
from detco_core.data.sources import unnamed
from detco_core.data.spill import in_order

MANIFEST = "manifest.jsonl"
SAMPLES = 20_000
LOADERS = 2
PRIME = 7919
"""A step that visits every number once."""


def list_names(folder: Path, files: int) -> dict[str, Any]:
    """Names as a disk gives them, in no order, become a sorted table: the first half of a scan."""
    before = private()
    shuffled = ((name(n * PRIME % files),) for n in range(files))
    table = tabulate((unnamed(path) for (path,) in in_order(shuffled)), folder)
    return {"held": private() - before, "files": len(table)}


def describe_all(folder: Path, files: int) -> dict[str, Any]:
    """What decoding told of each goes to manifest and table: the second half."""
    before, table = private(), TableBuilder(folder)
    write_manifest(folder / MANIFEST, noted(files, table))
    whole = table.table()
    int(np.partition(whole.facts[:, 1], files // 2)[files // 2])
    return {"held": private() - before, "bytes": (folder / MANIFEST).stat().st_size}


def noted(files: int, table: TableBuilder) -> Iterator[DatasetFile]:
    for n in range(files):
        file = DatasetFile(path=name(n), bytes=1000 + n, width=640, height=480, channels=3)
        table.add(file)
        yield file


def open_it(folder: Path, files: int) -> dict[str, Any]:
    """A job opens the manifest, its digest checked."""
    before = private()
    table = read_manifest(folder / MANIFEST, None)
    return {"held": private() - before, "files": len(table)}


def sample(folder: Path, files: int) -> dict[str, Any]:
    """Two loader processes draw from the table in an epoch's order; `held` is the largest one's."""
    import multiprocessing

    from detco_core.data.loaders import epoch_order

    epoch_order(8, 0, 0)
    table = read_manifest(folder / MANIFEST, None)
    context = multiprocessing.get_context("spawn")
    began = time.perf_counter()
    with context.Pool(LOADERS, initializer=_begin, initargs=(table,)) as pool:
        held = pool.map(_draw, range(LOADERS), chunksize=1)
    return {"held": max(held), "loaders": LOADERS, "loader_seconds": round(time.perf_counter() - began, 2)}


def _begin(table: Any) -> None:
    global _TABLE, _BEFORE
    from detco_core.data import loaders

    loaders.epoch_order(8, 0, 0)
    _TABLE, _BEFORE = table, private()


def _draw(rank: int) -> int:
    from detco_core.data.loaders import epoch_order

    order = epoch_order(len(_TABLE), 0, 0)
    for place in random.Random(rank).sample(range(len(order)), SAMPLES):
        _TABLE.member(int(order[place]))
    return private() - _BEFORE


_TABLE: Any = None
_BEFORE = 0
STAGES: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "list": list_names,
    "describe": describe_all,
    "open": open_it,
    "sample": sample,
}


def name(n: int) -> str:
    return f"site-07/camera-{n // 20_000:03d}/2024-11-23/part-{n:09d}.jpg"


def private(key: str = "RssAnon") -> int:
    """Bytes of this process that are no mapped file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def stage(which: str, folder: Path, files: int) -> dict[str, Any]:
    """Run one stage here."""
    if which == "sample":
        import detco_core.data.loaders  # noqa: F401 - torch's own memory is none of the stage's
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on: proc(5)
    base, began, cpu = private("VmHWM"), time.perf_counter(), time.process_time()
    found = STAGES[which](folder, files)
    return {
        "stage": which,
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_mb": round((private("VmHWM") - base) / 1e6, 1),
        "held_mb": round(found.pop("held") / 1e6, 1),
        **found,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2_000_000)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(stage(options.stage, options.folder, options.files)))
        return 0
    print(json.dumps(describe()), flush=True)
    with TemporaryDirectory() as folder:
        for which in STAGES:
            command = [sys.executable, "-m", "benchmarks.data", "--files", str(options.files)]
            told = [*command, "--stage", which, "--folder", folder]
            print(subprocess.run(told, capture_output=True, text=True, check=True, env=os.environ).stdout, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
