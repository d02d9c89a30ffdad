"""The import job: foreign weights, checked against the named architecture and written by our names."""

import os
from pathlib import Path

import torch

from detco_core import __version__
from detco_core.contract.events import ArtifactSaved, Reported, Started
from detco_core.contract.jobs import ImportJob
from detco_core.contract.reader import plain
from detco_core.contract.weights import WEIGHTS_FILE, WeightsReport
from detco_core.nets.foreign import read_foreign, require_complete
from detco_core.nets.weights import save_tensors, state_digest
from detco_core.runtime.checkpoint import file_digest
from detco_core.runtime.reporter import Reporter


def run(job: ImportJob, reporter: Reporter) -> None:
    """Write `job.folder/weights.pth`, report it as an artifact, then a `WeightsReport`.

    Raises:
        WeightsError: the file is not what the job says, or lacks keys and the job is strict; nothing is written.
        InvalidDocument: the architecture is not known.
    """
    reporter.emit(Started(environment={"version": __version__, "torch": torch.__version__, "device": "cpu"}))
    tensors, found, keys = read_foreign(
        Path(job.path), job.architecture, job.format, job.sha256, in_channels=job.channels
    )
    if job.strict:
        require_complete(job.path, job.architecture, keys)
    path = Path(job.folder) / WEIGHTS_FILE
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(tensors, temporary)
    temporary.replace(path)
    size, sha256 = path.stat().st_size, file_digest(path)
    reporter.emit(ArtifactSaved(name=WEIGHTS_FILE, path=WEIGHTS_FILE, bytes=size, sha256=sha256))
    report = WeightsReport(
        architecture=job.architecture,
        channels=job.channels,
        format=found,
        digest=state_digest(tensors),
        keys=keys,
    )
    reporter.emit(Reported(report=plain(report)))
