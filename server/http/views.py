"""Gathers what a view shows beside its row: places in the queue, newest metrics, aliases."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy.orm import Session

from control.db.models import Dataset, DatasetVersion, ModelVersion, Run
from control.records.datasets import datasets
from control.records.journal import metrics
from control.records.journal.history import newest_warnings, newest_warnings_of
from control.records.models.aliases import list_aliases
from control.records.planning.estimates import Estimator
from control.records.planning.plans import Plan
from control.records.runs.actions import is_saved, saved_among
from control.records.runs.runs import get_run
from control.records.runs.submission import NewRun
from control.records.scheduling.surroundings import Surroundings
from control.records.scheduling.waiting import queue_position, why
from detco_core.contract.reader import digest
from server.http.schemas.datasets import DatasetView, dataset_view
from server.http.schemas.evaluations import EvaluationPlanView, EvaluationView, evaluation_view
from server.http.schemas.extractions import ExtractionView, extraction_view
from server.http.schemas.jobs import JobView, Waiting, job_fields
from server.http.schemas.models import ModelVersionView, model_version_view
from server.http.schemas.runs import PlanView, RunView, run_view


def waiting_of(session: Session, run: Run, around: Surroundings | None = None, saved: bool | None = None) -> Waiting:
    """Where a queued job stands; `around` and `saved` where they were asked for many jobs together."""
    found = why(session, run, around)
    return Waiting(
        queue_position=queue_position(session, run, around),
        waiting_reason=found.reason if found else None,
        waiting_detail=found.detail if found else None,
        saved=is_saved(session, run) if saved is None else saved,
    )


def shown_run(session: Session, run: Run) -> RunView:
    """A pretraining run with its newest metrics and warnings."""
    newest = {key: row.value for key, row in metrics.latest(session, run.id).items()}
    return run_view(run, waiting_of(session, run), newest, newest_warnings(session, run.id))


def shown_runs(session: Session, runs: Sequence[Run]) -> list[RunView]:
    """As `shown_run`, with a number of queries that does not depend on how many they are."""
    ids = [run.id for run in runs]
    latest, warned = metrics.latest_of(session, ids), newest_warnings_of(session, ids)
    newest = {run_id: {key: row.value for key, row in rows.items()} for run_id, rows in latest.items()}
    waits = _waiting_of_all(session, runs)
    return [run_view(run, waits[run.id], newest[run.id], warned[run.id]) for run in runs]


def shown_evaluations(session: Session, runs: Sequence[Run]) -> list[EvaluationView]:
    """As `shown_evaluation`, with a number of queries that does not depend on how many they are."""
    waits = _waiting_of_all(session, runs)
    return [evaluation_view(run, waits[run.id]) for run in runs]


def shown_extractions(session: Session, runs: Sequence[Run]) -> list[ExtractionView]:
    """As `shown_extraction`, with a number of queries that does not depend on how many they are."""
    waits = _waiting_of_all(session, runs)
    return [extraction_view(run, waits[run.id]) for run in runs]


def _waiting_of_all(session: Session, runs: Sequence[Run]) -> dict[str, Waiting]:
    around, saved = Surroundings(session, runs), saved_among(session, runs)
    return {run.id: waiting_of(session, run, around, run.id in saved) for run in runs}


def shown_plan(session: Session, planned: Plan) -> PlanView:
    """What a run would be."""
    return PlanView.model_validate(
        {
            "config": planned.config,
            "config_digest": digest(planned.config),
            "dataset": planned.dataset.ref,
            "init": planned.start.init,
            "warnings": [asdict(warned) for warned in planned.warnings],
            "deviations": [asdict(deviation) for deviation in planned.deviations],
            "estimate": asdict(planned.estimate(session)),
        }
    )


def shown_evaluation_plan(session: Session, new: NewRun) -> EvaluationPlanView:
    """What an evaluation would be."""
    version = session.get_one(DatasetVersion, new.dataset_version_id)
    estimate = Estimator(session).evaluation(new.spec["task"], new.spec["options"], version.images)
    shown = {name: new.spec[name] for name in ("task", "source", "options", "seed")}
    return EvaluationPlanView.model_validate(shown | {"dataset": version.ref, "estimate": asdict(estimate)})


def shown_evaluation(session: Session, run: Run) -> EvaluationView:
    return evaluation_view(run, waiting_of(session, run))


def shown_extraction(session: Session, run: Run) -> ExtractionView:
    return extraction_view(run, waiting_of(session, run))


def shown_any(session: Session, run: Run) -> RunView | JobView:
    """A pretraining run, or what every other kind of job has as well."""
    if run.kind == "pretrain":
        return shown_run(session, run)
    return JobView.model_validate(job_fields(run, waiting_of(session, run)))


def shown_export(session: Session, run: Run) -> ModelVersionView:
    """The model version that an export makes."""
    return shown_model_version(session, session.get_one(ModelVersion, run.spec["model_version_id"]))


def shown_dataset(session: Session, row: Dataset) -> DatasetView:
    """A data set as its newest version is."""
    return dataset_view(row, datasets.list_versions(session, row.name)[0])


def shown_model_version(session: Session, row: ModelVersion) -> ModelVersionView:
    """A model version with the aliases that name it and the job that makes it."""
    names = [alias.name for alias in list_aliases(session, row.model) if alias.model_version_id == row.id]
    job = get_run(session, row.run_id) if row.run_id else None
    return model_version_view(row, names, job, waiting_of(session, job) if job else Waiting())
