"""What came out, as a table and as JSON: mean and spread over seeds, and each seed's own numbers."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.miniature.probe import DRAWS, PENALTY, PER_CLASS
from benchmarks.miniature.recipe import METHODS, Profile
from benchmarks.miniature.runs import NEIGHBOURS

Results = Mapping[str, Sequence[Mapping[str, Any]]]
"""By method, one result a seed."""

SCORES: Mapping[str, str] = {"knn": f"{NEIGHBOURS}-NN top-1", "few_labels": f"linear probe, {PER_CLASS} labels a class"}


def values(results: Sequence[Mapping[str, Any]], score: str) -> list[float]:
    """One number a seed, in percent; draws of labels are averaged."""
    return [statistics.fmean(found) if isinstance(found := r[score], list) else found for r in results]


def summary(results: Results) -> dict[str, dict[str, dict[str, Any]]]:
    """By method and score: `mean`, `spread` (standard deviation over seeds, None for one seed) and `values`."""
    return {
        method: {score: _spread(values(results[method], score)) for score in SCORES}
        for method in METHODS
        if results.get(method)
    }


def table(results: Results) -> str:
    """The summary as a markdown table."""
    head = ["backbone", "seeds", *SCORES.values(), "minutes a run"]
    rows = [
        [
            method,
            str(len(results[method])),
            *(_cell(found[score]) for score in SCORES),
            f"{statistics.fmean(r['seconds']['pretraining'] for r in results[method]) / 60:.1f}",
        ]
        for method, found in summary(results).items()
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def differences(results: Results, better: str = "detco", base: str = "moco_v2") -> list[str]:
    """One sentence a score: by how much `better` beats `base`, seed by seed; a loss is a negative number."""
    sentences = []
    for score, name in SCORES.items():
        pairs = _pairs(results, better, base, score)
        if not pairs:
            continue
        ahead = sum(difference > 0 for difference in pairs)
        each = ", ".join(f"{difference:+.1f}" for difference in pairs)
        sentences.append(
            f"{name}: {better} less {base} is {statistics.fmean(pairs):+.1f} points on average "
            f"({each}); ahead in {ahead} of {len(pairs)} seeds."
        )
    return sentences


def markdown(profile: Profile, epochs: int, facts: Mapping[str, Any], results: Results) -> str:
    """The whole page; `facts` has the data's counts and the machine's lines."""
    shared = ", ".join(f"`{key}` {value}" for key, value in profile.overrides.items())
    machine = "; ".join(f"{key} {value}" for key, value in facts["machine"].items() if value not in (None, [], ""))
    noise = (
        "Cut-and-paste data and a short run: good for ranking and regressions, no evidence about VOC or COCO. With so "
        f"few seeds and {facts['val']} validation images (one is {100 / facts['val']:.1f} points) small differences "
        "are noise."
    )
    protocol = (
        f"ResNet-18, {epochs} epochs over {facts['images']} unlabelled images for both methods. Evaluated at "
        f"{profile.image_size} px on the average-pooled res5 of the frozen backbone, {facts['train']} training and "
        f"{facts['val']} validation images of {facts['classes']} classes, always guessing the most common class gives "
        f"{facts['majority']:.1f} %. k-NN as the evaluation task `knn` with k {NEIGHBOURS}. Probe: L2-regularised "
        f"logistic regression (L-BFGS, penalty {PENALTY:g}, features standardised) on {PER_CLASS} labelled images a "
        f"class, mean of {DRAWS} draws that are the same for all. Mean ± standard deviation over seeds, in percent; in "
        "brackets each seed. A random backbone has the weights from which the run of that seed starts."
    )
    parts = [
        f"# Miniature, profile {profile.name}",
        table(results),
        *differences(results),
        noise,
        f"Recipe (`benchmarks/miniature/recipe.py`), the same for both methods: {shared}.",
        protocol,
        f"Measured with: {machine}.",
    ]
    return "\n\n".join(parts) + "\n"


def _pairs(results: Results, better: str, base: str, score: str) -> list[float]:
    by_seed = [
        {r["seed"]: value for r, value in zip(found, values(found, score), strict=True)}
        for found in (results.get(better, ()), results.get(base, ()))
    ]
    return [by_seed[0][seed] - by_seed[1][seed] for seed in sorted(by_seed[0].keys() & by_seed[1].keys())]


def _spread(found: list[float]) -> dict[str, Any]:
    spread = statistics.stdev(found) if len(found) > 1 else None
    return {"mean": statistics.fmean(found), "spread": spread, "values": found}


def _cell(found: Mapping[str, Any]) -> str:
    spread = "" if found["spread"] is None else f" ± {found['spread']:.1f}"
    return f"{found['mean']:.1f}{spread} ({', '.join(f'{value:.1f}' for value in found['values'])})"
