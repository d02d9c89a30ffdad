"""Figures of feature serving: our server against the bare runtime in a loop, LitServe and BentoML; and its hard days.

    python -m benchmarks.serving [--only cost memory] [--quick] [--mixed 1000] [--no-peers]
                                 [--device cuda] [--spin-us 20]

A ResNet-50 with random weights is exported once, and the peers' environments are made once, below `build/serving`.
Figures are kept in `results/serving.json` and `.md`, each with where it was measured; those of `--quick` are printed
only. Fails when a promise is missed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS, describe
from benchmarks.serving.burst import measure_burst
from benchmarks.serving.corrupt import measure_corrupt
from benchmarks.serving.cost import measure_cost
from benchmarks.serving.hang_ups import measure_hang_ups
from benchmarks.serving.memory import measure_memory
from benchmarks.serving.peers.processes import PEERS, versions
from benchmarks.serving.profiles import PROFILES
from benchmarks.serving.scene import Scene, scene
from benchmarks.serving.swaps import measure_swaps
from benchmarks.serving.table import FIGURES, missed, told
from benchmarks.serving.wires import measure_wires

MEASURES: Mapping[str, Callable[[Scene], dict[str, Any]]] = {
    "cost": measure_cost,
    "hang_ups": measure_hang_ups,
    "corrupt": measure_corrupt,
    "burst": measure_burst,
    "memory": measure_memory,
    "swaps": measure_swaps,
    "wires": measure_wires,
}


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, keep; 1 when a promise is missed or a figure could not be had."""
    options = arguments(words)
    profile = replace(PROFILES[options.profile], **({"mixed": options.mixed} if options.mixed else {}))
    # The peers compute on the CPU.
    peers = () if options.no_peers or options.device != "cpu" else PEERS
    settings, kept = _settings(options)
    found: dict[str, Any] = {}
    failed: dict[str, str] = {}
    about = {"profile": options.profile, "device": options.device, "spin_us": options.spin_us, "peers": versions(peers)}
    with (
        tempfile.TemporaryDirectory(dir=options.folder, prefix="serving-") as folder,
        scene(profile, Path(folder), peers, **settings) as set_up,
    ):
        for name in options.only:
            print(f"{name} ...", file=sys.stderr, flush=True)
            facts = describe("fastapi", "uvicorn")
            try:
                found[name] = {"measured_with": facts, **about, "found": MEASURES[name](set_up)}
            except RuntimeError as error:
                failed[name] = str(error)
            if options.results is not None:
                keep(found, options.results / kept)
    print(told(found), flush=True)
    for name, why in failed.items():
        print(f"{name} could not be measured: {why}", file=sys.stderr)
    return int(bool(failed or missed(found)))


def _settings(options: argparse.Namespace) -> tuple[dict[str, str], str]:
    """Of our server, and the name that its figures are kept under."""
    settings: dict[str, str] = {}
    name = "serving"
    if options.device != "cpu":
        settings |= {"serve_device": options.device, "serve_gpus": "0"}
        name += f"-{options.device}"
    if options.spin_us:
        settings["serve_spin_us"] = str(options.spin_us)
        name += "-spin"
    return settings, name


def keep(found: Mapping[str, Any], stem: Path) -> None:
    """Put these figures in the place of older ones; others stay, with their own machine and commit."""
    path = stem.with_suffix(".json")
    older = json.loads(path.read_text("utf-8")) if path.exists() else {}
    results = {name: one for name in FIGURES if (one := found.get(name, older.get(name)))}
    stem.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    stem.with_suffix(".md").write_text(told(results) + "\n", "utf-8")


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=FIGURES, metavar="FIGURE")
    parser.add_argument("--quick", dest="profile", action="store_const", const="quick", default="full")
    parser.add_argument("--tiny", dest="profile", action="store_const", const="tiny", help="as the tests do")
    parser.add_argument("--mixed", type=int, help="requests of mixed sizes (10,000)")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="with cuda, the floor computes there too"
    )
    parser.add_argument("--spin-us", type=int, default=0, help="of our server (DETCO_SERVE_SPIN_US)")
    parser.add_argument("--folder", type=Path, help="where data folder and logs lie meanwhile")
    parser.add_argument("--results", type=Path)
    options = parser.parse_args(words)
    if options.results is None and options.profile == "full":
        options.results = RESULTS
    return options


if __name__ == "__main__":
    sys.exit(main())
