"""Bulk extraction against the bare runtime: images a second, CPU of an image, and the share of time spent waiting.

    python -m benchmarks.extraction [--images 48] [--rounds 5] [--tiny]

Both read the same made-up 640x480 JPEGs from disk and compute `res5` of a ResNet-50 with random weights at 224 px on
the CPU, turn about in one process. The bare side (`benchmarks.serving.bare`) decodes, resizes and runs one image after
the other and keeps nothing; the job decodes ahead in threads, and writes, digests and syncs its shards. Opening the
model is left out of the bare side and is part of the job. `--tiny` takes a network of a few kilobytes: what is left
then is what the job itself costs.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.serving import bundles
from benchmarks.serving.bare import LEVEL, Bare
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.events import Progress, decode
from detco_core.contract.extractions.options import ExtractionOptions
from detco_core.contract.features import ResizeExact
from detco_core.contract.jobs import EVENTS_FILE, ExtractJob
from detco_core.data.synthetic import write_photos
from detco_core.extraction.job import run
from detco_core.runtime.reporter import Reporter

SIDE = 224


class Round(NamedTuple):
    """One pass over all images."""

    seconds: float
    cpu: float
    waited: float
    """Share of its time that the job waited for images; 0 of the bare side, which does one thing at a time."""


def by_hand(bare: Bare, photos: Sequence[Path]) -> None:
    for photo in photos:
        bare.answer(photo.read_bytes())


def by_job(bundle: Path, photos: Path, folder: Path) -> float:
    """Extract to a new folder; the share of time waited, as its last progress said."""
    options = ExtractionOptions(levels=(LEVEL,), resize=ResizeExact(height=SIDE, width=SIDE))
    dataset = DatasetRef(name="photos", kind="images", root=str(photos))
    folder.mkdir()
    with Reporter(folder) as reporter:
        run(ExtractJob(folder=str(folder), bundle=str(bundle), dataset=dataset, options=options), reporter)
    told = [decode(line).body for line in (folder / EVENTS_FILE).read_text().splitlines()]
    return [body.data_wait for body in told if isinstance(body, Progress)][-1]


def measured(work: Callable[[], float | None]) -> Round:
    wall, cpu = time.perf_counter(), time.process_time()
    waited = work()
    return Round(time.perf_counter() - wall, time.process_time() - cpu, waited or 0.0)


def compare(bundle: Path, images: int, rounds: int) -> dict[str, list[Round]]:
    """Rounds of both sides, turn about."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        photos = write_photos(folder / "photos", images, (640, 480))
        bare = Bare(bundle / "model.onnx", SIDE)
        found: dict[str, list[Round]] = {"bare runtime": [], "extraction job": []}
        for number in range(rounds):
            found["bare runtime"].append(measured(lambda: by_hand(bare, photos)))
            target = folder / f"job-{number}"
            found["extraction job"].append(measured(lambda target=target: by_job(bundle, folder / "photos", target)))  # type: ignore[misc]  # mypy cannot infer a lambda's default
        return found


def table(found: dict[str, list[Round]], images: int) -> list[str]:
    """One line a side: the median of its rounds, and the smallest CPU time."""
    base = statistics.median(one.cpu for one in found["bare runtime"])
    lines = [f"{f'{images} JPEGs of 640x480':24} images/s  CPU ms an image    min  of bare waiting"]
    for name, rounds in found.items():
        rate = images / statistics.median(one.seconds for one in rounds)
        cpu = statistics.median(one.cpu for one in rounds)
        waited = statistics.median(one.waited for one in rounds)
        least = min(one.cpu for one in rounds)
        share = f"{1000 * cpu / images:16.2f} {1000 * least / images:6.2f} {cpu / base:7.2f}x {waited:7.1%}"
        lines.append(f"{name:24} {rate:8.1f} {share}")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="a network of a few kilobytes")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        bundle = bundles.tiny(Path(folder) / "tiny", 0) if options.tiny else bundles.resnet50(0)
        print("\n".join(table(compare(bundle, options.images, options.rounds), options.images)))


if __name__ == "__main__":
    main()
