"""Gathers what a sweep's views show: its plan, how it stands, its runs side by side."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy.orm import Session

from control.db.models import Sweep
from control.records.sweeps.sweep_plans import SweepPlan
from control.records.sweeps.sweep_results import Line, lines, standings
from detco_core.contract.reader import digest
from server.http.jobs.comparison import compare
from server.http.schemas.evaluations import evaluation_view
from server.http.schemas.jobs import Waiting
from server.http.schemas.runs import Caution
from server.http.schemas.sweeps import (
    PlannedRunView,
    SweepDetail,
    SweepPlanView,
    SweepView,
    TotalView,
    VariedKey,
    line_view,
    ranking_view,
    sweep_fields,
)


def shown_plan(session: Session, planned: SweepPlan) -> SweepPlanView:
    """What a sweep would be."""
    warnings = dict.fromkeys(warned for one in planned.runs for warned in one.plan.warnings)
    return SweepPlanView(
        dataset=planned.dataset.ref,
        varied=planned.varied,
        evaluate=planned.evaluate,
        runs=[
            PlannedRunView(number=number, overrides=dict(one.overrides), config_digest=digest(one.plan.config))
            for number, one in enumerate(planned.runs, 1)
        ],
        warnings=[Caution.model_validate(asdict(warned)) for warned in warnings],
        estimate=TotalView.model_validate(asdict(planned.estimate(session))),
    )


def shown_sweeps(session: Session, sweeps: Sequence[Sweep]) -> list[SweepView]:
    """Sweeps without their runs."""
    standing = standings(session, sweeps)
    return [SweepView(**sweep_fields(sweep, standing[sweep.id])) for sweep in sweeps]


def shown_sweep(session: Session, sweep: Sweep) -> SweepDetail:
    """A sweep with its runs, ranked and compared."""
    found, ranking = lines(session, sweep)
    return SweepDetail(
        **sweep_fields(sweep, standings(session, [sweep])[sweep.id]),
        ranked_by=ranking_view(ranking),
        items=[line_view(line) for line in found],
        comparison=_compared(sweep, found),
    )


def _compared(sweep: Sweep, found: Sequence[Line]) -> list[VariedKey]:
    """The evaluations by the labels that the varied values are."""
    views = [evaluation_view(line.evaluation, Waiting()) for line in found if line.evaluation is not None]
    if not any(view.report for view in views):
        return []
    return [VariedKey(key=key, groups=compare(views, f"label:{key}").groups) for key in sweep.varied]
