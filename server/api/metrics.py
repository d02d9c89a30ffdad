"""Metrics: the curves of one run, those of several at once, and the newest and extreme values."""

from typing import Annotated

from fastapi import APIRouter, Query

from control.errors import InvalidRequest
from control.records.journal import metrics
from control.records.journal.curves import MAX_POINTS, Wanted, curves
from control.records.runs.runs import get_run
from server.http.deps import JobId, Reader, Shared
from server.http.schemas.base import Page
from server.http.schemas.metrics import CurveView, MetricSummary, MetricView, curve_view, metric_views, summary_view

router = APIRouter(tags=["runs"])

Keys = Annotated[
    list[str] | None, Query(alias="key", max_length=500, description="Only these, e.g. `loss`; all when none.")
]
Points = Annotated[int, Query(ge=1, le=10_000, description="Of one curve; a longer one is gathered, see above.")]
AfterStep = Annotated[int, Query(ge=-1, lt=2**63 - 1, description="Only values of later steps.")]
UpToStep = Annotated[int | None, Query(ge=0, lt=2**63, description="Only values up to this step.")]

_GATHERED = """A curve of more than `max_points` values is cut into that many equal stretches of steps, from its first
to its last in the range; a point keeps the lowest, the highest and the last value of its stretch. An answer has at most
50,000 points in all: many long curves have fewer each."""


@router.get("/runs/{job}/metrics", summary="The values of a run's metrics, oldest step first", description=_GATHERED)
def values(
    job: JobId,
    _: Reader,
    services: Shared,
    keys: Keys = None,
    after_step: AfterStep = -1,
    up_to_step: UpToStep = None,
    max_points: Points = MAX_POINTS,
) -> Page[MetricView]:
    with services.look() as session:
        get_run(session, job, ("pretrain",))
        found = curves(session, _wanted([job], keys, after_step, up_to_step, max_points))
    return Page(items=metric_views(found))


@router.get("/runs/{job}/metrics/summary", summary="The newest and extreme values of each of a run's metrics")
def summary(job: JobId, _: Reader, services: Shared) -> Page[MetricSummary]:
    """By key."""
    with services.look() as session:
        get_run(session, job, ("pretrain",))
        return Page(items=[summary_view(row) for row in metrics.latest(session, job).values()])


@router.get("/metrics", summary="The curves of several runs, column by column", description=_GATHERED)
def compare(
    _: Reader,
    services: Shared,
    runs: Annotated[list[str], Query(alias="run", min_length=1, max_length=100)],
    keys: Keys = None,
    after_step: AfterStep = -1,
    up_to_step: UpToStep = None,
    max_points: Points = MAX_POINTS,
) -> Page[CurveView]:
    if len(set(runs)) != len(runs):
        raise InvalidRequest("run", "names a run twice")
    with services.look() as session:
        for run_id in runs:
            get_run(session, run_id, ("pretrain",))
        found = curves(session, _wanted(runs, keys, after_step, up_to_step, max_points))
    return Page(items=[curve_view(curve) for curve in found])


def _wanted(runs: list[str], keys: list[str] | None, after: int, up_to: int | None, max_points: int) -> Wanted:
    return Wanted(runs=runs, keys=keys or (), first_step=after + 1, last_step=up_to, max_points=max_points)
