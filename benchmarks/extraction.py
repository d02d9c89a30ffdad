"""Bulk extraction against the bare runtime: images a second, CPU of an image, and the share of time spent waiting.

    python -m benchmarks.extraction [--images 96] [--rounds 5] [--tiny]

Both read the same made-up 640x480 JPEGs from disk and compute `res5` of a ResNet-50 with random weights at 224 px on
the CPU, turn about in one process. The bare side (`benchmarks.serving.bare`) decodes, resizes and runs one image after
the other, each in all threads, and keeps nothing; the job decodes ahead, computes images side by side, and writes,
digests and syncs its shards. Opening the model is told apart: it is the same for a million images as for one. `--tiny`
takes a network of a few kilobytes: what is left then is what the job itself costs.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.serving import bundles
from benchmarks.serving.bare import LEVEL, Bare
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.events import Body, Progress, Started, decode
from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.contract.features import ResizeExact
from detco_core.contract.jobs import EVENTS_FILE, ExtractJob
from detco_core.data.synthetic import write_photos
from detco_core.extraction.job import run
from detco_core.runtime.reporter import Reporter

SIDE = 224


class Moment(NamedTuple):
    """Seconds of the clock and of this process's CPU time."""

    clock: float
    cpu: float

    @classmethod
    def now(cls) -> "Moment":
        return cls(time.perf_counter(), time.process_time())


class Round(NamedTuple):
    """One pass over all images."""

    opening: float
    """CPU seconds before the first image."""
    seconds: float
    """From then on."""
    cpu: float
    waited: float
    """Share of its time that the job waited for images; 0 of the bare side, which does one thing at a time."""


class Stamping(Reporter):
    """Looks at the clock when a job says that all is open."""

    opened: Moment

    def emit(self, body: Body) -> None:
        super().emit(body)
        if isinstance(body, Started):
            self.opened = Moment.now()


def by_hand(model: Path, photos: Sequence[Path]) -> Round:
    began = Moment.now()
    bare = Bare(model, SIDE)
    opened = Moment.now()
    for photo in photos:
        bare.answer(photo.read_bytes())
    return _round(began, opened, 0.0)


def by_job(bundle: Path, photos: Path, folder: Path) -> Round:
    """Extract to a new folder."""
    options = ExtractionOptions(levels=(LEVEL,), resize=ResizeExact(height=SIDE, width=SIDE))
    dataset = DatasetRef(name="photos", kind="images", root=str(photos))
    folder.mkdir()
    began = Moment.now()
    with Stamping(folder) as reporter:
        run(ExtractJob(folder=str(folder), bundle=str(bundle), dataset=dataset, options=options), reporter)
    told = [decode(line).body for line in (folder / EVENTS_FILE).read_text().splitlines()]
    return _round(began, reporter.opened, [body.data_wait for body in told if isinstance(body, Progress)][-1])


def _round(began: Moment, opened: Moment, waited: float) -> Round:
    ended = Moment.now()
    return Round(opened.cpu - began.cpu, ended.clock - opened.clock, ended.cpu - opened.cpu, waited)


def compare(bundle: Path, images: int, rounds: int) -> dict[str, list[Round]]:
    """Rounds of both sides, turn about."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        photos = write_photos(folder / "photos", images, (640, 480))
        found: dict[str, list[Round]] = {"bare runtime": [], "extraction job": []}
        for number in range(rounds):
            found["bare runtime"].append(by_hand(bundle / "model.onnx", photos))
            found["extraction job"].append(by_job(bundle, folder / "photos", folder / f"job-{number}"))
        return found


def table(found: dict[str, list[Round]], images: int) -> list[str]:
    """One line a side: the median of its rounds, the smallest CPU time, and both beside the bare side's of its turn."""
    head = "images/s  of bare  CPU ms an image    min  of bare  waiting  CPU s to open"
    lines = [f"{f'{images} JPEGs of 640x480':24} {head}"]
    for name, rounds in found.items():
        turns = list(zip(rounds, found["bare runtime"], strict=True))
        rate = images / median(one.seconds for one in rounds)
        faster = median(bare.seconds / one.seconds for one, bare in turns)
        cpu, least = median(one.cpu for one in rounds), min(one.cpu for one in rounds)
        dearer = median(one.cpu / bare.cpu for one, bare in turns)
        figures = f"{rate:8.1f} {faster:7.2f}x {1000 * cpu / images:16.2f} {1000 * least / images:6.2f} {dearer:7.2f}x"
        rest = f"{median(one.waited for one in rounds):8.1%} {median(one.opening for one in rounds):14.2f}"
        lines.append(f"{name:24} {figures} {rest}")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="a network of a few kilobytes")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        bundle = bundles.tiny(Path(folder) / "tiny", 0) if options.tiny else bundles.resnet50(0)
        print("\n".join(table(compare(bundle, options.images, options.rounds), options.images)))


if __name__ == "__main__":
    main()
