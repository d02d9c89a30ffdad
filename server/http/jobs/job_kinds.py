"""The kinds of job the interface has, and how each is found and shown."""

from control.errors import NotFound
from control.records.models import registry
from control.records.runs.runs import get_run
from control.states import Action
from server.http.deps import JobId, Named, Number, Shared
from server.http.jobs.jobs import JobKind
from server.http.schemas.evaluations import EvaluationView
from server.http.schemas.extractions import ExtractionView
from server.http.schemas.jobs import JobView
from server.http.schemas.models import ModelVersionView
from server.http.schemas.runs import RunView
from server.http.views import shown_any, shown_evaluation, shown_export, shown_extraction


def _any_job(job: JobId, services: Shared) -> str:
    with services.look() as session:
        return get_run(session, job).id


def _evaluation(job: JobId, services: Shared) -> str:
    with services.look() as session:
        return get_run(session, job, ("evaluate",)).id


def _extraction(job: JobId, services: Shared) -> str:
    with services.look() as session:
        return get_run(session, job, ("extract",)).id


def _export(name: Named, number: Number, services: Shared) -> str:
    with services.look() as session:
        version = registry.get_version(session, name, number)
    if version.run_id is None:
        raise NotFound("export", version.ref)
    return version.run_id


_WITHOUT_FINISH: tuple[Action, ...] = ("cancel", "pause", "resume", "kill")

_WITHOUT_RESUME: tuple[Action, ...] = ("cancel", "pause", "kill", "finish")

RUN = JobKind("/runs/{job}", "run", _any_job, shown_any, RunView | JobView, _WITHOUT_RESUME)
"""Pretraining runs; their paths take the id of any kind of job, such as a data set's scan. How they are resumed is
`api/steering`'s."""
EVALUATION = JobKind("/evaluations/{job}", "evaluation", _evaluation, shown_evaluation, EvaluationView, _WITHOUT_FINISH)
EXTRACTION = JobKind("/extractions/{job}", "extraction", _extraction, shown_extraction, ExtractionView, _WITHOUT_FINISH)
EXPORT = JobKind("/models/{name}/versions/{number}", "export", _export, shown_export, ModelVersionView, _WITHOUT_FINISH)
