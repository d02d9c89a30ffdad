"""Time and memory of a training step, part by part, beside the bare passes of the same network.

    python -m benchmarks.train [--device auto|cpu|cuda] [--rounds 5] [--presets detco_r18 detco_r50]

The step is the trainer's own (`detco_core.train`), with marks set around what it calls; the bare passes are those of
torchvision's network: forward and backward on one global view and nine patches, then forward. They take turns in one
process. CPU: batch 8, fp32. GPU: batch 256, bf16 and fp32. Results: `results/train-cpu.txt` and `.json`, or
`train-cuda.*`.
"""

import argparse
import gc
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import RESULTS, describe
from benchmarks.train.measure import Measured, measure
from benchmarks.train.plan import Plan
from benchmarks.train.table import document, table

PRESETS = ("detco_r18", "detco_r50")
BATCH = {"cpu": 8, "cuda": 256}
PRECISIONS = {"cpu": ("fp32",), "cuda": ("bf16", "fp32")}
STEPS = {"cpu": 1, "cuda": 10}
"""Of a round; the last of them tells the monitors, as one step in ten does by default."""
WARMUP = {"cpu": 0, "cuda": 7}
"""Steps beside those whose FLOPs and memory are counted; with them ten on a GPU, so that monitors were told once."""


def main(words: Sequence[str] | None = None) -> None:
    options = arguments(words)
    facts = describe() | {"cuda": torch.version.cuda, "tf32_convolutions": torch.backends.cudnn.allow_tf32}
    print(json.dumps(facts, indent=2), flush=True)
    measured: list[Measured] = []
    for plan in plans(options):
        measured.append(measure(plan, options.rounds, options.steps or STEPS[plan.kind], WARMUP[plan.kind]))
        print(f"\n{table(measured[-1])}", flush=True)
        write(facts, measured, options.results / f"train-{plan.kind}")
        # Hooks hold the networks in circles; their memory must be free before the next are built.
        gc.collect()
        torch.cuda.empty_cache()


def plans(options: argparse.Namespace) -> list[Plan]:
    """What is measured, in order."""
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    return [
        Plan(
            preset=name,
            kind=kind,
            precision=precision,
            batch=options.batch or BATCH[kind],
            threads=options.threads,
            log_every=options.steps or STEPS[kind],
            workers=min(8, len(os.sched_getaffinity(0))) if kind == "cuda" else 0,
            deterministic=options.deterministic,
            small=options.small,
        )
        for name in options.presets
        for precision in options.precisions or PRECISIONS[kind]
    ]


def write(facts: dict[str, Any], measured: list[Measured], stem: Path) -> None:
    """Keep what there is so far, as text and as JSON."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    text = "\n\n".join([json.dumps(facts, indent=2), *map(table, measured)])
    stem.with_suffix(".txt").write_text(text + "\n", "utf-8")
    whole = {"measured_with": facts, "tables": [document(one) for one in measured]}
    stem.with_suffix(".json").write_text(json.dumps(whole, indent=2) + "\n", "utf-8")


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="of a round")
    parser.add_argument("--threads", type=int, default=1, help="of torch in the training process")
    parser.add_argument("--deterministic", action="store_true", help="deterministic kernels, as the presets have them")
    parser.add_argument("--small", action="store_true", help="tiny views and queue: to see that it runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
