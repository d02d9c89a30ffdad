"""The seam between the evaluation job and its tasks: what a task is asked, and what it must answer.

To add a task: its options in `contract/evaluations`, a file beside this one with a function of type `Task`, and a line
in `catalog`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from detco_core.contract.datasets import DatasetRef
from detco_core.contract.evaluations import Report, Source
from detco_core.contract.events import Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One evaluation, as a task sees it."""

    options: Any
    """The task's own options dataclass (`contract.evaluations.TASKS`)."""
    source: Source
    dataset: DatasetRef
    seed: int
    """Of everything the task draws; equal questions get equal answers."""
    progress: Callable[[Progress], None]
    """To be called now and then; a step is one image."""


Task = Callable[[Question], Report]
"""Answers a question; raises `DataError` when the data set cannot be used for the task."""
