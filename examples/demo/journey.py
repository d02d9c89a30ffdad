"""The main job, step by step, through the REST API and nothing else."""

import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from detco_client import DetcoClient, JobFailed
from detco_client.cli.watch import watch_run
from detco_client.features import ImageFeatures
from detco_client.resources.evaluations import Evaluation
from detco_client.resources.models import ModelVersion
from detco_client.resources.runs import Run
from examples.demo import recipe

MODEL = "demo"
BEFORE = "demo-untrained"
LEVELS = ("res2", "res3", "res4", "res5")
Curves = dict[str, list[tuple[int, float]]]


@dataclass(frozen=True)
class Runs:
    """The two runs of the demo."""

    trained: Run
    untrained: Run


@dataclass(frozen=True)
class Scores:
    """The kNN evaluations of the trained backbone and of a random one."""

    trained: Evaluation
    random: Evaluation


def register(client: DetcoClient, name: str, folder: Path, kind: str = "images") -> int:
    """Register a folder and wait for its scan; returns how many images can be read."""
    client.datasets.add(name, str(folder), kind=kind)
    return client.datasets.wait(name)["images"] or 0


def submit(client: DetcoClient, photos: int) -> Runs:
    """Queue both runs; the untrained one takes a moment and goes first."""
    untrained = client.runs.submit("photos", recipe.PRESET, recipe.untrained(photos), name="untrained")
    trained = client.runs.submit("photos", recipe.PRESET, recipe.pretraining(photos), name="pretraining")
    return Runs(trained, untrained)


def submit_random(client: DetcoClient) -> Evaluation:
    """Queue the floor: the same evaluation of a backbone nobody trained."""
    source = {"weights": "random", "backbone": "resnet18"}
    return client.evaluations.submit("knn", source, "crops", recipe.KNN, name="random")


def train(client: DetcoClient, runs: Runs, console: Console) -> Runs:
    """Watch the run to its end; a slow machine is asked to finish when its time is up.

    Raises:
        JobFailed: when it does not complete.
    """
    done = watch_run(client, runs.trained["id"], console, _Patience(client).look)
    if done["state"] != "completed":
        raise JobFailed(f"run {done['id']}", done["state"], done["reason"])
    return Runs(done, client.runs.wait(runs.untrained["id"]))


def curves(client: DetcoClient, run: str) -> Curves:
    """Every metric of a run over its steps."""
    found: Curves = {}
    for point in client.runs.metrics(run):
        found.setdefault(point["key"], []).append((point["step"], point["value"]))
    return found


def evaluate(client: DetcoClient, run: str, random: str) -> Scores:
    """The kNN scores, once both evaluations are done."""
    source = {"run": run, "checkpoint": "last"}
    trained = client.evaluations.submit("knn", source, "crops", recipe.KNN, name="trained")
    return Scores(client.evaluations.wait(trained["id"]), client.evaluations.wait(random))


def export(client: DetcoClient, runs: Runs) -> ModelVersion:
    """Export both runs, promote both, and return the trained version once the service answers with it."""
    for name, run in ((MODEL, runs.trained), (BEFORE, runs.untrained)):
        client.models.export(name, {"run": run["id"], "checkpoint": "last"})
    for name in (BEFORE, MODEL):
        client.models.wait(name, 1)
        client.models.promote(name, 1, "production")
    return client.models.version(MODEL, 1)


def features(client: DetcoClient, photo: Path, model: str, short_side: int) -> ImageFeatures:
    """All four levels of one photo."""
    resize = {"short_side": short_side, "max_side": 2 * short_side}
    return client.features(photo, model=model, levels=list(LEVELS), resize=resize).images[0]


class _Patience:
    """Asks a run that has trained for too long to save and complete, once."""

    def __init__(self, client: DetcoClient) -> None:
        self._client = client
        self._began: float | None = None
        self._asked = False

    def look(self, run: Run) -> None:
        if run["state"] != "running" or self._asked:
            return
        self._began = self._began or time.monotonic()
        if time.monotonic() - self._began > recipe.TRAIN_SECONDS:
            self._asked = True
            self._client.runs.finish(run["id"])
