"""Random weights, MoCo v2 and DetCo at equal epochs on `stamps`: k-NN and a few-label linear probe, several seeds.

    python -m benchmarks.miniature --data stamps.tar [--profile cpu|gpu] [--seeds 3] [--minutes 9]

Finished entries are kept below `--work`, so the command may be repeated until all are there: after each, the tables
`results/miniature-PROFILE.md` and `.json` hold what there is. `--minutes` starts no further entry after that long.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import RESULTS, ROOT, describe
from benchmarks.miniature.recipe import METHODS, PROFILES
from benchmarks.miniature.report import Results, differences, markdown, summary, table
from benchmarks.miniature.runs import Comparison
from benchmarks.miniature.stamps import labelled, open_stamps, unlabelled
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.reader import plain
from detco_core.data.images import ImageFiles
from detco_core.evaluation.pixels import open_splits

DATA = "DETCO_TEST_DATA"


def main(words: Sequence[str] | None = None) -> None:
    options = arguments(words)
    work: Path = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    root = open_stamps(options.data, work)
    comparison = Comparison(
        profile=PROFILES[options.profile],
        device=options.device,
        images=unlabelled(root, work),
        classify=labelled(root),
        work=work,
        epochs=options.epochs,
    )
    entries = [comparison.entry(method, seed) for seed in options.seed_list for method in options.methods]
    start = time.monotonic()
    for entry in entries:
        if entry.kept is None and time.monotonic() - start > 60 * options.minutes:
            print("the time is over; the same command goes on", flush=True)
            break
        found = comparison.result(entry)
        print(
            f"{entry.method} {entry.seed}: k-NN {found['knn']:.1f}, {found['seconds']['pretraining']:.0f} s", flush=True
        )
    write(comparison, {m: [e.kept for e in entries if e.method == m and e.kept] for m in METHODS}, options.results)


def write(comparison: Comparison, results: Results, folder: Path) -> None:
    """Keep and print what there is."""
    profile, epochs = comparison.profile, comparison.epochs or comparison.profile.epochs
    facts = {**facts_of(comparison.images, comparison.classify, profile.image_size), "machine": describe()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"miniature-{profile.name}.md").write_text(markdown(profile, epochs, facts, results), "utf-8")
    document = {
        "profile": plain(profile),
        "epochs": epochs,
        "facts": facts,
        "summary": summary(results),
        "results": results,
    }
    (folder / f"miniature-{profile.name}.json").write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    print(table(results), *differences(results), sep="\n")


def facts_of(images: DatasetRef, classify: DatasetRef, image_size: int) -> dict[str, Any]:
    """Counts of the data, and what guessing the most common class reaches, in percent."""
    train, val = open_splits(classify, image_size)
    common = np.bincount(train.labels).argmax()
    return {
        "images": len(ImageFiles.open(images)),
        "train": len(train),
        "val": len(val),
        "classes": len(train.classes),
        "majority": 100 * float((val.labels == common).mean()),
    }


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = os.environ.get(DATA)
    given = Path(folder) / "stamps.tar" if folder else None
    parser.add_argument(
        "--data", type=Path, default=given, required=given is None, help=f"folder or tar; default: ${DATA}/stamps.tar"
    )
    parser.add_argument("--profile", choices=PROFILES, default="cpu")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--epochs", type=int, help="instead of the profile's")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no further run after this long")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "miniature")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    options.seed_list = range(options.first_seed, options.first_seed + options.seeds)
    return options


if __name__ == "__main__":
    main()
