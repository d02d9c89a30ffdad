"""One entry of the comparison, a method and a seed: pretrain through the trainer's own door, evaluate, keep the result.

Everything is kept below a folder named by the recipe, so an interrupted comparison goes on where it was: finished
entries are read, a half-trained one resumes from its last checkpoint, and a changed recipe starts afresh.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT, describe
from benchmarks.miniature.probe import DRAWS, PENALTY, PER_CLASS, few_label_top1
from benchmarks.miniature.recipe import BACKBONE, RANDOM, Profile, pretraining
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.evaluations import KnnOptions, Source
from detco_core.contract.jobs import PretrainJob
from detco_core.contract.reader import digest, plain
from detco_core.evaluation.frozen import extract
from detco_core.evaluation.knn import percent
from detco_core.evaluation.pixels import open_splits
from detco_core.evaluation.sources import open_source
from detco_core.evaluation.votes import count_votes, hits

RESULT = "result.json"
NEIGHBOURS = 10
PROTOCOL = (NEIGHBOURS, PER_CLASS, DRAWS, PENALTY)
"""What a result depends on besides its backbone and image size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One row of the comparison before it is averaged."""

    method: str
    seed: int
    folder: Path

    @property
    def kept(self) -> Mapping[str, Any] | None:
        """Its result, when it has one."""
        path = self.folder / RESULT
        return json.loads(path.read_text("utf-8")) if path.is_file() else None

    def keep(self, result: Mapping[str, Any]) -> None:
        """Write its result, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{RESULT}.part"
        part.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
        part.rename(self.folder / RESULT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What all entries share."""

    profile: Profile
    device: str
    images: DatasetRef
    """Pretrained on."""
    classify: DatasetRef
    """Evaluated on."""
    work: Path
    epochs: int | None = None
    """Instead of the profile's."""

    def entry(self, method: str, seed: int) -> Entry:
        """The entry, in the folder that belongs to it and to this recipe."""
        config = None if method == RANDOM else plain(pretraining(self.profile, method, seed, self.device, self.epochs))
        recipe = digest(
            {"config": config, "images": self.images.digest, "protocol": [self.profile.image_size, *PROTOCOL]}
        )
        name = f"{method}-{seed}-{recipe.removeprefix('sha256:')[:8]}"
        return Entry(method=method, seed=seed, folder=self.work / self.profile.name / name)

    def result(self, entry: Entry) -> Mapping[str, Any]:
        """The entry's result: kept, or made now and kept.

        Raises:
            SystemExit: pretraining failed; its last words are in the message.
        """
        if entry.kept is not None:
            return entry.kept
        start = time.monotonic()
        source = self._source(entry)
        trained = time.monotonic()
        scores = evaluate(source, self.classify, self.profile.image_size)
        seconds = {"pretraining": trained - start, "evaluation": time.monotonic() - trained}
        entry.keep(
            {"method": entry.method, "seed": entry.seed, **scores, "seconds": seconds, "measured_with": describe()}
        )
        return self.result(entry)

    def job(self, entry: Entry) -> PretrainJob:
        """What pretrains the entry."""
        return PretrainJob(
            folder=str(entry.folder),
            config=pretraining(self.profile, entry.method, entry.seed, self.device, self.epochs),
            dataset=self.images,
            run=entry.folder.name,
            keep_checkpoints=1,
        )

    def _source(self, entry: Entry) -> Source:
        if entry.method == RANDOM:
            return Source(kind="random", backbone=BACKBONE, seed=entry.seed)
        pretrain(self.job(entry))
        return Source(kind="checkpoint", path=str(newest_checkpoint(entry.folder)))


def pretrain(job: PretrainJob) -> None:
    """Run the job as a person would, `python -m detco_core pretrain`, from its last checkpoint when it has one.

    Raises:
        SystemExit: it failed or was stopped.
    """
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(json.dumps(plain(job), indent=2), "utf-8")
    command = [sys.executable, "-m", "detco_core", "pretrain", str(folder / "job.json")]
    checkpoint = newest_checkpoint(folder)
    if checkpoint is not None:
        command += ["--resume", str(checkpoint)]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with (folder / "train.log").open("a", encoding="utf-8") as log:
        done = subprocess.run(
            command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": path}, check=False
        )
    check_ended_well(done.returncode, folder / "train.log")


def check_ended_well(code: int, log: Path) -> None:
    """Raise `SystemExit` with the log's last words unless the exit code is 0."""
    if code:
        raise SystemExit(
            "\n".join([f"pretraining ended with {code}; {log} ends:", *log.read_text("utf-8").splitlines()[-5:]])
        )


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the most steps in a job's folder; names sort by step."""
    return max((folder / "checkpoints").glob("*.pt"), default=None)


def evaluate(source: Source, classify: DatasetRef, image_size: int) -> dict[str, Any]:
    """Percent of right answers on `val`: `knn` and, for each draw of labels, `few_labels`."""
    options = KnnOptions(k=NEIGHBOURS, image_size=image_size)
    splits = open_splits(classify, image_size)
    train, val = extract(
        open_source(source),
        splits,
        options.stage,
        lambda progress: None,
        batch_size=options.batch_size,
        workers=options.workers,
    )
    k = min(NEIGHBOURS, len(train.labels))
    votes = count_votes(train, val.values, len(splits.train.classes), k, options.temperature)
    return {"knn": percent(hits(votes, val.labels, top=1)), "few_labels": few_label_top1(train, val)}
