"""Pretraining runs: submit, watch, steer, fetch checkpoints."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from detco_client.download import OnBytes, download
from detco_client.errors import ClientError
from detco_client.jobs import Jobs
from detco_client.resources.jobs import ActionResults
from detco_client.resources.metrics import Curve, MetricPoint, MetricSummary
from detco_client.resources.runs import Checkpoint, Plan, Run


class Runs(Jobs[Run]):
    """`client.runs`."""

    resource = "runs"

    def submit(
        self, dataset: str, preset: str, overrides: Mapping[str, Any] | None = None, *, key: str = "", **more: Any
    ) -> Run:
        """Queue a run.

        Args:
            dataset: `name` (its newest version) or `name@version`; may still be scanning.
            preset: where the config starts from, e.g. `detco_r50` (`client.info()["presets"]`).
            overrides: dotted keys of the config, e.g. `{"train.steps": 60}`.
            key: the Idempotency-Key: the same key gives the same run however often it is sent; made up when empty.
            more: `name`, `labels`, `group`, `priority`, `gpus`, `max_attempts`, `after`, `init`, ... as the API takes
                them; `init` is `{"weights": ID}`, `{"model": NAME}` or `{"run": ID, "checkpoint": "last"}`.

        Raises:
            Refused: naming every key of the config that is unknown and every value that is wrong.
        """
        body = {"dataset": dataset, "preset": preset, "overrides": dict(overrides or {}), **more}
        return self._submit(body, key)

    def plan(self, dataset: str, preset: str, overrides: Mapping[str, Any] | None = None, **more: Any) -> Plan:
        """What `submit` would run: resolved config, warnings, deviations from the paper, estimate. Queues nothing."""
        body = {"dataset": dataset, "preset": preset, "overrides": dict(overrides or {}), **more}
        return cast(Plan, self._transport.post("/v1/runs", body, params={"dry_run": True}))

    def fork(
        self,
        id: str,
        overrides: Mapping[str, Any] | None = None,
        *,
        carry: Literal["weights", "all"] = "weights",
        checkpoint: str = "last",
        key: str = "",
        **more: Any,
    ) -> Run:
        """Queue a run that goes on from a checkpoint of another, in any state.

        Args:
            id: the run to go on from.
            overrides: dotted keys of its config.
            carry: `weights` starts anew from its encoder; `all` goes on with optimizer, queues and random state, so
                that a completed run can be given more `train.steps` or `train.epochs`.
            checkpoint: `last`, `best` or an id.
            key: the Idempotency-Key; made up when empty.
            more: `name`, `labels`, `group`, `dataset`, `gpus`, ... as the API takes them.
        """
        body = {"checkpoint": checkpoint, "carry": carry, "overrides": dict(overrides or {}), **more}
        return cast(Run, self._transport.create(f"{self._path(id)}/fork", body, key))

    def plan_fork(self, id: str, overrides: Mapping[str, Any] | None = None, **more: Any) -> Plan:
        """What `fork` would run; queues nothing. `more` are its other arguments."""
        body = {"overrides": dict(overrides or {}), **more}
        return cast(Plan, self._transport.post(f"{self._path(id)}/fork", body, params={"dry_run": True}))

    def list(self, state: str | None = None, group: str | None = None, label: str | None = None) -> Iterator[Run]:
        """Every run, newest first."""
        return self._transport.items("/v1/runs", {"state": state, "group": group, "label": label})

    def resume(self, id: str, gpus: int | None = None, *, allow_world_size_change: bool = False) -> Run:
        """Queue a paused run again; on another number of GPUs with consent, since batch norm groups change."""
        body = {"allow_world_size_change": allow_world_size_change} | ({} if gpus is None else {"gpus": gpus})
        return cast(Run, self._transport.post(f"{self._path(id)}/resume", body))

    def change(self, id: str, **changes: Any) -> Run:
        """Set `name`, `labels`, `group`; while it has not ended `priority`, `max_attempts`, `max_seconds`,
        `idle_seconds`, `preemptible`, `preempt`. What is not named stays as it is.
        """
        return cast(Run, self._transport.patch(self._path(id), changes))

    def act(
        self,
        action: str,
        ids: Sequence[str] | None = None,
        *,
        group: str | None = None,
        label: str | None = None,
        state: str | None = None,
        dry_run: bool = False,
    ) -> ActionResults:
        """Ask something of many jobs at once, each by itself: those of these ids, or all of a group or label.

        Args:
            action: `cancel`, `pause`, `resume`, `finish` or `kill`.
            ids: at most 500.
            group: jobs of every kind in it that have not ended.
            label: those that have it: `key` or `key=value`.
            state: only those of the group or label in this state.
            dry_run: only list those that would be asked.
        """
        named = {"ids": None if ids is None else list(ids), "group": group, "label": label, "state": state}
        body = {"action": action} | {name: value for name, value in named.items() if value is not None}
        path = "/v1/runs/actions"
        return cast(ActionResults, self._transport.post(path, body, params={"dry_run": dry_run}))

    def finish(self, id: str) -> Run:
        """Save now and complete."""
        return self._act(id, "finish")

    def metrics(
        self, id: str, key: str | Sequence[str] | None = None, *, after_step: int = -1, max_points: int = 500
    ) -> Iterator[MetricPoint]:
        """The values of the metrics named (None: all) behind `after_step`, oldest step first.

        Of a curve with more than `max_points` values a point keeps the lowest, highest and last value of its stretch.
        """
        wanted = {"key": key, "after_step": after_step, "max_points": max_points}
        return self._transport.items(f"{self._path(id)}/metrics", wanted)

    def curves(
        self, ids: Sequence[str], key: str | Sequence[str] | None = None, *, max_points: int = 500
    ) -> Iterator[Curve]:
        """The same metrics of several runs, column by column, to be laid over each other."""
        return self._transport.items("/v1/metrics", {"run": ids, "key": key, "max_points": max_points})

    def metrics_summary(self, id: str) -> Iterator[MetricSummary]:
        """The newest, lowest and highest value of each metric."""
        return self._transport.items(f"{self._path(id)}/metrics/summary")

    def checkpoints(self, id: str, *, deleted: bool = False) -> Iterator[Checkpoint]:
        """Newest first, each with why it is kept; those that are `deleted` on request."""
        return self._transport.items(f"{self._path(id)}/checkpoints", {"deleted": True} if deleted else None)

    def keep(
        self,
        id: str,
        *,
        best: int | None = None,
        latest: int | None = None,
        every_epochs: float | None = None,
        dry_run: bool = False,
    ) -> Any:
        """Say which checkpoints are kept; None is the service's setting. Answers what stays, what goes, and bytes."""
        body = {"best": best, "latest": latest, "every_epochs": every_epochs}
        return self._transport.put(f"{self._path(id)}/keep", body, {"dry_run": True} if dry_run else None)

    def pin(self, id: str, checkpoint: str) -> Checkpoint:
        """Keep a checkpoint, and its run, until `unpin`."""
        return cast(Checkpoint, self._transport.put(f"{self._path(id)}/checkpoints/{checkpoint}/pin"))

    def unpin(self, id: str, checkpoint: str) -> Checkpoint:
        return cast(Checkpoint, self._transport.delete(f"{self._path(id)}/checkpoints/{checkpoint}/pin"))

    def checkpoint(self, id: str, which: str = "last") -> Checkpoint:
        """The `last` checkpoint of a run, the `best` by its monitor, or the one of that id or step."""
        if which == "best":
            return cast(Checkpoint, self._transport.get(f"{self._path(id)}/checkpoints/best"))
        found = sorted(self.checkpoints(id), key=lambda checkpoint: checkpoint["step"])
        if found and which == "last":
            return found[-1]
        for checkpoint in found:
            if which in (checkpoint["id"], str(checkpoint["step"])):
                return checkpoint
        steps = ", ".join(str(checkpoint["step"]) for checkpoint in found) or "none yet"
        raise ClientError(f"run {id} has no checkpoint {which!r}; saved at steps: {steps}")

    def download(
        self, id: str, target: Path | None = None, checkpoint: str = "last", on_bytes: OnBytes | None = None
    ) -> Path:
        """Fetch a checkpoint, resumable and checked by its digest; `target` is the file to write."""
        chosen = self.checkpoint(id, checkpoint)
        path = f"{self._path(id)}/checkpoints/{chosen['id']}/file"
        target = target or Path(f"{id}-step-{chosen['step']:08d}.pt")
        return download(self._transport, path, target, chosen["sha256"], on_bytes)
