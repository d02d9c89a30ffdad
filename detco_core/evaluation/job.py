"""The evaluation job: reads the task's options, lets the task answer, reports the scores."""

import torch
import torchvision

from detco_core import __version__
from detco_core.contract.evaluations import read_options
from detco_core.contract.events import Reported, Started
from detco_core.contract.jobs import EvaluateJob
from detco_core.contract.reader import plain
from detco_core.evaluation.catalog import TASKS
from detco_core.evaluation.task import Question
from detco_core.runtime.reporter import Reporter
from detco_core.runtime.seeding import seed_all


def run(job: EvaluateJob, reporter: Reporter) -> None:
    """Evaluate; the last event but the closing one is the `evaluations.Report`.

    Raises:
        DetcoError: what a person must mend: options, source, data set, or weights that diverged.
    """
    spec = job.spec
    options = read_options(spec.task, spec.options)
    reporter.emit(Started(environment=_environment()))
    seed_all(spec.seed)
    question = Question(
        options=options, source=spec.source, dataset=job.dataset, seed=spec.seed, progress=reporter.emit
    )
    reporter.emit(Reported(report=plain(TASKS[spec.task](question))))


def _environment() -> dict[str, str | int]:
    return {
        "version": __version__,
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "device": "cpu",
        "cpu_threads": torch.get_num_threads(),
    }
