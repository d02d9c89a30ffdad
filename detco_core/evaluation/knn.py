"""The task `knn`: classify every validation image by its nearest training images, on frozen features."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.config import ViewsConfig
from detco_core.contract.evaluations import KnnOptions, Report
from detco_core.evaluation.frozen import Labels, extract
from detco_core.evaluation.pixels import open_splits, views_for
from detco_core.evaluation.sources import open_source
from detco_core.evaluation.task import Question
from detco_core.evaluation.votes import count_votes, hits


def evaluate(question: Question) -> Report:
    """Answer with `top1`, `top5` and `mean_per_class`, in percent; details say what guessing would reach.

    Raises:
        DataError: the data set is not labelled, lacks a split, has one class only, or an image cannot be read.
        NumericsError: the features are not finite.
    """
    options: KnnOptions = question.options
    backbone = open_source(question.source, views_for(question.source, question.dataset))
    read_as = ViewsConfig(channels=backbone.channels, bit_depth=backbone.bit_depth)
    splits = open_splits(question.dataset, options.image_size, read_as)
    train, val = extract(
        backbone, splits, options.stage, question.progress, batch_size=options.batch_size, workers=options.workers
    )
    k = min(options.k, len(train.labels))
    classes = splits.train.classes
    votes = count_votes(train, val.values, len(classes), k, options.temperature)
    first = hits(votes, val.labels, top=1)
    return Report(
        task="knn",
        protocol=_protocol(options, k, backbone.description),
        scores={
            "top1": percent(first),
            "top5": percent(hits(votes, val.labels, top=5)),
            "mean_per_class": float(np.mean([percent(first[val.labels == c]) for c in np.unique(val.labels)])),
        },
        details={
            "k": k,
            "k_asked": options.k,
            **_guessing(train.labels, val.labels),
            "train": len(train.labels),
            "val": len(val.labels),
            "classes": len(classes),
            "per_class": _per_class(classes, train.labels, val.labels, first),
        },
    )


def percent(hit: NDArray[np.bool_]) -> float:
    """Share of hits in percent."""
    return 100.0 * float(hit.mean())


def _protocol(options: KnnOptions, k: int, backbone: str) -> str:
    clipped = f" (asked for {options.k}, train has no more)" if k < options.k else ""
    return (
        f"Weighted {k}-nearest-neighbour classification{clipped} of val by train: cosine similarity of {options.stage} "
        f"averaged over space, votes exp(similarity / {options.temperature:g}); of each image the central square "
        f"(224/256 of its short side) at {options.image_size} pixels; frozen {backbone}."
    )


def _guessing(train: Labels, val: Labels) -> dict[str, float]:
    """What guessing reaches, in percent: any class, or always the most common one of train."""
    counts = np.bincount(train)
    return {"chance": 100.0 / int(np.count_nonzero(counts)), "majority": percent(val == counts.argmax())}


def _per_class(
    classes: tuple[str, ...], train: Labels, val: Labels, first: NDArray[np.bool_]
) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "train": int(np.sum(train == c)),
            "val": int(np.sum(val == c)),
            "top1": percent(first[val == c]) if np.any(val == c) else None,
        }
        for c, name in enumerate(classes)
    }
