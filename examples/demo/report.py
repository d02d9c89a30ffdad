"""The demo's last word: what was done, how long it took, what came out, where to look next."""

import math
import os
import platform
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detco_client.resources.evaluations import Evaluation
from detco_client.resources.models import ModelVersion
from detco_client.resources.runs import Run
from examples.demo import recipe
from examples.demo.charts import TERMS
from examples.demo.journey import MODEL, Curves, Runs, Scores

STAGES = ("res2", "res3", "res4", "res5")
LINE = 110


@dataclass(frozen=True)
class Story:
    """Everything the summary tells."""

    origin: str
    photos: int
    classes: int
    runs: Runs
    curves: Curves
    scores: Scores
    version: ModelVersion
    seconds: Mapping[str, float]
    """Of each part of the demo."""


def write_summary(story: Story, path: Path, data: Path) -> str:
    """Write `summary.md`; returns its text."""
    parts = [_head(story), _training(story), _scores(story), _model(story), _times(story), _next(story, data)]
    text = "\n\n".join(map(_wrapped, parts)) + "\n"
    path.write_text(text, "utf-8")
    return text


def machine() -> str:
    """One line about the machine this ran on."""
    count = len(os.sched_getaffinity(0))
    cores = f"{count} CPU core{'s' if count > 1 else ''} ({_processor()})"
    return f"{cores}, {platform.system()}, Python {platform.python_version()}"


def verdict(scores: Scores) -> str:
    """Which backbone won, said as it is."""
    ahead = top1(scores.trained) - top1(scores.random)
    if abs(ahead) < 1:
        return "No difference worth the name between the trained and the random backbone."
    if ahead > 0:
        return f"The trained backbone is ahead of the random one by {ahead:.1f} points."
    return f"The random backbone is ahead by {-ahead:.1f} points: training this short did not help this score."


def top1(evaluation: Evaluation) -> float:
    """Percent."""
    return evaluation["report"]["scores"]["top1"] if evaluation["report"] else 0.0


def how_far(run: Run) -> tuple[int, int, float]:
    """Steps done, steps planned, and passes over the photos."""
    progress = run["progress"]
    return (progress["step"], progress["steps"], progress["epoch"]) if progress else (0, 0, 0.0)


def loss_rows(curves: Curves) -> list[list[str]]:
    """For each term: its name, and for each stage the mean at the start, at its highest, and at the end."""
    rows = []
    for term, name in TERMS.items():
        cells = [_course(curves[f"loss/{term}/{stage}"]) for stage in STAGES if f"loss/{term}/{stage}" in curves]
        rows.append([f"{term} ({name})", *cells])
    return rows


def queue_note(queue: int) -> str:
    """Why a loss may rise before it falls."""
    return (
        f"g2g and l2l may rise while the queues of {queue} fill: at first the negatives are random vectors, easy to "
        f"tell from a photo; then they are other photos. Chance is {math.log(queue + 1):.2f}."
    )


def _head(story: Story) -> str:
    return f"""# What the demo did

On {machine()}, in {_minutes(sum(story.seconds.values()))}: pretrained a ResNet-18 with DetCo on {story.origin};
evaluated it, exported it, promoted it, and asked the service for its dense features. Every step went through the REST
API of the embedded service, as your own programs would go.

![features](features.png)

![similarity](similarity.png)"""


def _training(story: Story) -> str:
    run = story.runs.trained
    step, steps, epoch = how_far(run)
    early = "" if step == steps else f" It was asked to finish early: {recipe.TRAIN_SECONDS:.0f} s were over."
    queue = run["config"]["method"]["queue_size"]
    table = _table(["loss", *STAGES], loss_rows(story.curves))
    return f"""## Training

{step} of {steps} steps of {recipe.BATCH} images, {epoch:.0f} passes over {story.photos} photos.{early}

{table}

Each cell: start, highest, end (means of a tenth of the run). {queue_note(queue)}
This is a demonstration: DetCo as published takes 1.28 million images and 200 passes.

![losses](losses.png)"""


def _scores(story: Story) -> str:
    report = story.scores.trained["report"]
    chance = report["details"].get("chance", 0.0) if report else 0.0
    rows = [
        ["DetCo, as trained here", f"{top1(story.scores.trained):.1f} %"],
        ["random weights", f"{top1(story.scores.random):.1f} %"],
        ["guessing", f"{chance:.1f} %"],
    ]
    return f"""## Evaluation: k nearest neighbours

The labelled set was cut from the same photos: a class is a photo ({story.classes} of them), train crops come from its
left half and val crops from its right one (upper and lower for upright photos), so no pixel is in both. It asks whether
features recognise a photo they were trained on by a part of it; it says nothing about other photos.

{_table(["backbone", "top-1"], rows)}

{verdict(story.scores)}

{report["protocol"] if report else ""}"""


def _model(story: Story) -> str:
    manifest, parity = story.version["manifest"] or {}, story.version["parity"] or {}
    levels = ", ".join(
        f"{level['name']} ({level['channels']} channels, stride {level['stride']})" for level in manifest["levels"]
    )
    errors = ", ".join(f"{name} {found['relative_error']:.1e}" for name, found in parity.items())
    return f"""## Model

`{MODEL}:1`, alias `production`, weights `{story.version["weights_digest"]}`, levels {levels}.
Largest difference from torch, relative: {errors}."""


def _times(story: Story) -> str:
    rows = [[what, f"{seconds:.0f} s"] for what, seconds in story.seconds.items()]
    return "## Time\n\n" + _table(["part", "took"], [*rows, ["together", f"{sum(story.seconds.values()):.0f} s"]])


def _next(story: Story, data: Path) -> str:
    run = story.runs.trained["id"]
    return f"""## Where to look next

The service is stopped; everything it made is in `{data}`. Start it again, and look around:

```
.venv/bin/detco up --data-dir {data}          # then http://127.0.0.1:8000/docs
export DETCO_DATA_DIR={data}                   # in another terminal: where the token is
.venv/bin/detco runs show {run}
.venv/bin/detco models versions {MODEL}
.venv/bin/detco models download {MODEL} 1 --format torchvision -o backbone.pth
.venv/bin/detco features YOUR.jpg --model {MODEL} --levels res3,res5 -o features.npz
make demo PHOTOS=your/folder                   # the same on photos of yours
```

Commands by task: docs/client.md. Every setting of a run: `detco config explain detco_r18`."""


def _course(points: Sequence[tuple[int, float]]) -> str:
    values = [value for _, value in points]
    window = max(1, len(values) // 10)
    means = [sum(values[i : i + window]) / window for i in range(len(values) - window + 1)]
    return f"{means[0]:.2f}, {max(means):.2f}, {means[-1]:.2f}"


def _wrapped(part: str) -> str:
    """Paragraphs filled to `LINE`; tables, pictures, headlines and code are left as they are."""
    blocks = part.split("\n\n")
    return "\n\n".join(b if b.startswith(("#", "|", "!", "```")) else textwrap.fill(b, LINE) for b in blocks)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
