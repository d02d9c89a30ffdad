"""Sweeps: many runs that differ in a few keys, submitted, compared and cancelled as one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote

from detco_client.resources.jobs import ENDED
from detco_client.resources.sweeps import Sweep, SweepDetail, SweepPlan
from detco_client.transport import Transport
from detco_client.waiting import wait


class Sweeps:
    """`client.sweeps`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def submit(
        self,
        dataset: str,
        preset: str,
        grid: Mapping[str, Sequence[Any]] | None = None,
        overrides: Mapping[str, Any] | None = None,
        *,
        key: str = "",
        **more: Any,
    ) -> SweepDetail:
        """Queue a run for every combination.

        Args:
            dataset: `name` (its newest version) or `name@version`.
            preset: where the configs start from.
            grid: dotted keys and the values each takes, e.g. `{"optim.lr": [0.01, 0.03], "seed": [1, 2]}`.
            overrides: dotted keys that all runs share.
            key: the Idempotency-Key; made up when empty.
            more: `combinations` (instead of a grid), `evaluate`, `max_parallel`, `name`, `labels`, `group`,
                `priority`, `gpus`, `init`, ... as the API takes them.

        Raises:
            Refused: naming every combination that is wrong; nothing was queued.
        """
        body = _body(dataset, preset, grid, overrides, more)
        return cast(SweepDetail, self._transport.create("/v1/sweeps", body, key))

    def plan(
        self,
        dataset: str,
        preset: str,
        grid: Mapping[str, Sequence[Any]] | None = None,
        overrides: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> SweepPlan:
        """What `submit` would run, and what all of it would take; queues nothing."""
        body = _body(dataset, preset, grid, overrides, more)
        return cast(SweepPlan, self._transport.post("/v1/sweeps", body, params={"dry_run": True}))

    def get(self, id: str) -> SweepDetail:
        """A sweep with its runs, ranked, and the scores by each varied key."""
        return cast(SweepDetail, self._transport.get(self._path(id)))

    def list(self, group: str | None = None) -> Iterator[Sweep]:
        """Every sweep, newest first, without its runs."""
        return self._transport.items("/v1/sweeps", {"group": group})

    def cancel(self, id: str) -> SweepDetail:
        """Cancel all of its runs and evaluations that have not ended."""
        return cast(SweepDetail, self._transport.post(f"{self._path(id)}/cancel"))

    def delete(self, id: str, *, dry_run: bool = False) -> Any:
        """Delete it with its runs and evaluations; answers what was made from them and stays, and the bytes freed.

        Raises:
            Conflict: some of it has not ended, or others need it; names them.
        """
        return self._transport.delete(self._path(id), {"dry_run": True} if dry_run else None)

    def wait(
        self, id: str, timeout: float | None = None, on_change: Callable[[SweepDetail], None] | None = None
    ) -> SweepDetail:
        """The sweep once all of it has ended and a run of it is completed; `on_change` sees it twice a second.

        Raises:
            JobFailed: when every run failed, or it was cancelled or is paused.
            WaitTimeout: when it is still at work after `timeout` seconds.
        """
        bad = (ENDED | {"paused"}) - {"completed"}
        ask = lambda: self.get(id)  # noqa: E731 - one expression, asked again and again
        return wait(ask, f"sweep {id}", good={"completed"}, bad=bad, timeout=timeout, on_change=on_change)

    def _path(self, id: str) -> str:
        return f"/v1/sweeps/{quote(id, safe='')}"


def _body(
    dataset: str,
    preset: str,
    grid: Mapping[str, Sequence[Any]] | None,
    overrides: Mapping[str, Any] | None,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    varied = {} if grid is None else {"grid": {key: [*values] for key, values in grid.items()}}
    return {"dataset": dataset, "preset": preset, "overrides": dict(overrides or {}), **varied, **more}
