"""Evaluations: score a checkpoint, a model, imported or random weights on a labelled data set."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from detco_client.jobs import Jobs
from detco_client.resources.evaluations import Evaluation


class Evaluations(Jobs[Evaluation]):
    """`client.evaluations`."""

    resource = "evaluations"

    def submit(
        self,
        task: str,
        source: Mapping[str, Any],
        dataset: str,
        options: Mapping[str, Any] | None = None,
        *,
        key: str = "",
        **more: Any,
    ) -> Evaluation:
        """Queue an evaluation.

        Args:
            task: `knn`, ... (`client.info()["tasks"]`).
            source: `{"run": ID, "checkpoint": "last"}`, `{"model": "name@alias"}`, `{"weights": ID}` or
                `{"weights": "random"}`.
            dataset: of a kind the task reads.
            options: the task's own, e.g. `{"k": 20}`.
            key: the Idempotency-Key; made up when empty.
            more: `name`, `group`, `after`, ... as the API takes them.
        """
        body = {"task": task, "source": dict(source), "dataset": dataset, "options": dict(options or {}), **more}
        return self._submit(body, key)

    def plan(
        self, task: str, source: Mapping[str, Any], dataset: str, options: Mapping[str, Any] | None = None, **more: Any
    ) -> Any:
        """What `submit` would evaluate, every option named, and what it will take; queues nothing."""
        body = {"task": task, "source": dict(source), "dataset": dataset, "options": dict(options or {}), **more}
        return self._transport.post("/v1/evaluations", body, params={"dry_run": True})

    def compare(self, ids: Sequence[str], group_by: str | None = None) -> Any:
        """The scores of several evaluations side by side."""
        return self._transport.get("/v1/evaluations/compare", {"id": list(ids), "group_by": group_by})

    def list(self, group: str | None = None, state: str | None = None) -> Iterator[Evaluation]:
        """Every evaluation, newest first."""
        return self._transport.items("/v1/evaluations", {"group": group, "state": state})
