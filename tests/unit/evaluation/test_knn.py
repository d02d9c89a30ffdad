"""The task `knn`: its scores against a loop over its own features, and what its report says."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from detco_core.contract.datasets import DatasetRef
from detco_core.contract.errors import DataError
from detco_core.contract.evaluations import KnnOptions, Report, Source
from detco_core.contract.jobs import CheckJob
from detco_core.contract.manifest import InputSpec
from detco_core.contract.reader import plain
from detco_core.data.scan import MANIFEST, scan
from detco_core.evaluation.frozen import extract
from detco_core.evaluation.knn import evaluate
from detco_core.evaluation.pixels import open_splits, views_for
from detco_core.evaluation.sources import open_source
from detco_core.evaluation.task import Question
from detco_core.inference.tiny import write_tiny_bundle
from detco_core.nets.backbone import make_backbone

OPTIONS = KnnOptions(k=5, image_size=48, workers=0)


def ask(dataset: DatasetRef, source: Source, options: KnnOptions = OPTIONS) -> Report:
    return evaluate(Question(options=options, source=source, dataset=dataset, seed=0, progress=lambda progress: None))


def test_scores_equal_a_loop(dataset: DatasetRef, random_r18: Source) -> None:
    report = ask(dataset, random_r18)
    train, val = extract(
        open_source(random_r18), open_splits(dataset, 48), "res5", lambda progress: None, batch_size=32, workers=0
    )
    right = []
    for query in val.values:
        near = sorted(range(len(train.values)), key=lambda n: -float(train.values[n] @ query))[:5]
        votes = {
            c: sum(np.exp(float(train.values[n] @ query) / 0.07) for n in near if train.labels[n] == c)
            for c in range(3)
        }
        right.append(max(votes, key=lambda c: votes[c]))
    hit = np.array(right) == val.labels
    assert report.scores["top1"] == pytest.approx(100 * hit.mean())
    per_class = [100 * hit[val.labels == c].mean() for c in range(3)]
    assert report.scores["mean_per_class"] == pytest.approx(np.mean(per_class))
    assert [report.details["per_class"][f"class-{c}"]["top1"] for c in range(3)] == pytest.approx(per_class)


def test_a_grey_backbone_sees_grey_images(dataset: DatasetRef, tmp_path: Path) -> None:
    spec = InputSpec(channels=1, mean=(0.5,), std=(0.25,), color="gray")
    write_tiny_bundle(tmp_path / "gray", spec=spec)
    report = ask(dataset, Source(kind="bundle", path=str(tmp_path / "gray")))
    assert report.details["val"] == 12


@pytest.fixture(scope="module")
def five_bands(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    """Scanned, of 16 bits: two classes that differ in one band."""
    root, folder = tmp_path_factory.mktemp("bands"), tmp_path_factory.mktemp("scan")
    random = np.random.default_rng(0)
    for split, name, n in itertools.product(("train", "val"), ("a", "b"), range(3)):
        array = random.integers(0, 30_000, (40, 40, 5)).astype(np.uint16)
        array[:, :, 4] += 30_000 * (name == "b")
        path = root / split / name / f"{n}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)
    report = scan(CheckJob(folder=str(folder), root=str(root), kind="labelled"))
    return DatasetRef(
        name="bands@1",
        kind="labelled",
        root=str(root),
        manifest=str(folder / MANIFEST),
        digest=report.digest,
        statistics=report.statistics,
    )


def test_random_weights_take_the_channels_of_the_data_set(five_bands: DatasetRef, random_r18: Source) -> None:
    views = views_for(random_r18, five_bands)
    assert views is not None
    assert (views.channels, views.bit_depth) == (5, 16)
    assert views.mean == five_bands.statistics["5"].mean
    assert ask(five_bands, random_r18, KnnOptions(k=3, image_size=48, workers=0)).details["val"] == 6


def test_imported_weights_take_the_channels_they_were_imported_for(five_bands: DatasetRef, tmp_path: Path) -> None:
    torch.save(make_backbone("resnet18", 5).state_dict(), tmp_path / "five.pth")
    five = Source(kind="weights", path=str(tmp_path / "five.pth"), backbone="resnet18", channels=5)
    assert ask(five_bands, five, KnnOptions(k=3, image_size=48, workers=0)).details["val"] == 6
    with pytest.raises(DataError, match=r"bands@1 holds images of other than 3 channels \(12 of 5; e.g. train/a/0"):
        ask(five_bands, replace(five, channels=3))


def test_the_report_says_what_was_done_and_what_guessing_reaches(dataset: DatasetRef, random_r18: Source) -> None:
    report = ask(dataset, random_r18)
    assert report.task == "knn"
    assert "Weighted 5-nearest-neighbour" in report.protocol
    assert "resnet18, randomly initialised with seed 5" in report.protocol
    assert set(report.scores) == {"top1", "top5", "mean_per_class"}
    assert all(0 <= score <= 100 for score in report.scores.values())
    assert report.scores["top1"] <= report.scores["top5"]
    details = report.details
    assert (details["k"], details["train"], details["val"], details["classes"]) == (5, 12, 12, 3)
    assert [details["chance"], details["majority"]] == pytest.approx([100 / 3, 100 / 3])
    assert details["per_class"]["class-0"] == {"train": 4, "val": 4, "top1": details["per_class"]["class-0"]["top1"]}
    json.dumps(plain(report), allow_nan=False)


def test_more_neighbours_than_images_are_clipped_and_said(dataset: DatasetRef, random_r18: Source) -> None:
    report = ask(dataset, random_r18, KnnOptions(k=500, image_size=48, workers=0))
    assert (report.details["k"], report.details["k_asked"]) == (12, 500)
    assert "Weighted 12-nearest-neighbour classification (asked for 500, train has no more)" in report.protocol


def test_equal_questions_get_equal_answers(dataset: DatasetRef, random_r18: Source) -> None:
    assert ask(dataset, random_r18) == ask(dataset, random_r18)
