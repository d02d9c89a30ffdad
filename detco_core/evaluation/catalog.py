"""The evaluation tasks there are, by the name an evaluation gives. To add one: see `task`."""

from collections.abc import Mapping

from detco_core.evaluation import knn
from detco_core.evaluation.task import Task

TASKS: Mapping[str, Task] = {"knn": knn.evaluate}
