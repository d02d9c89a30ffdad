"""What an evaluation may ask."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from detco_core.contract.errors import InvalidDocument
from detco_core.contract.evaluations import SCORES, TASKS, EvaluationSpec, KnnOptions, better, read_options
from detco_core.contract.reader import plain, read

RANDOM = {"kind": "random"}


def test_options_are_read_as_the_tasks_own() -> None:
    assert read_options("knn", {"k": 5}) == KnnOptions(k=5)
    assert read_options("knn", plain(KnnOptions(k=7, stage="res4"))) == KnnOptions(k=7, stage="res4")


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"neighbours": 5}, "neighbours"),
        ({"k": 0}, "k"),
        ({"k": 2.5}, "k"),
        ({"temperature": 0}, "temperature"),
        ({"stage": "res6"}, "stage"),
        ({"image_size": 16}, "image_size"),
        ({"workers": -1}, "workers"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        read_options("knn", options)
    assert [fault.path for fault in caught.value.faults] == [path]
    with pytest.raises(ValidationError):
        TypeAdapter(KnnOptions).validate_python(options, extra="forbid")


def test_every_task_says_which_of_two_scores_is_better() -> None:
    assert SCORES.keys() == TASKS.keys()
    assert (better("knn", "top1"), better("knn", "of its own")) == ("higher", "higher")


def test_an_unknown_task_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidDocument, match="task: 'kmeans' is not one of knn"):
        read_options("kmeans", {})
    with pytest.raises(InvalidDocument, match="task: 'kmeans' is not one of knn"):
        read(EvaluationSpec, {"task": "kmeans", "source": RANDOM})


@pytest.mark.parametrize("source", [{"kind": "checkpoint"}, {"kind": "random", "path": "/x"}, {"kind": "url"}, {}])
def test_a_source_has_a_path_unless_it_is_random(source: dict[str, Any]) -> None:
    with pytest.raises(InvalidDocument, match=r"source\."):
        read(EvaluationSpec, {"task": "knn", "source": source})
