"""Other programs that are told the metrics: TensorBoard event files, and MLflow when a config asks for it.

None of them may end a run: what fails says so once and is left alone from then on.
"""

import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from detco_core.contract.config import RunConfig
from detco_core.contract.events import Metrics
from detco_core.contract.jobs import PretrainJob
from detco_core.contract.reader import plain

TENSORBOARD_FOLDER = "tensorboard"
FLUSH_SECONDS = 10
RUN_TAG = "detco.run"
"""Tag of an MLflow run by which a resumed run finds it again."""
GOODBYE_SECONDS = 10.0
"""What is still unsent when a run ends has this long to reach the server."""
_BACKLOG = 1000
_PARAMETERS_A_CALL = 100
"""MLflow's own limit."""


class Track(Protocol):
    """One program; it is never waited for."""

    name: str

    def metrics(self, metrics: Metrics) -> None:
        """Pass on the values of a step."""

    def failure(self) -> str | None:
        """Why it is told nothing any more; None while all is well."""

    def close(self, *, finished: bool) -> Path | None:
        """The run ends here, or stops to be continued; the file that was written, if it is one to keep."""


def open_tracks(job: PretrainJob, done: int, *, visible: bool) -> list[Track]:
    """The programs to tell about a run that has made `done` steps; rank 0 (`visible`) alone tells."""
    if not visible:
        return []
    tracks: list[Track] = [TensorBoard(Path(job.folder) / TENSORBOARD_FOLDER, done)]
    if job.config.track.mlflow_uri is not None:
        tracks.append(Mlflow(job.config, job.run))
    return tracks


class TensorBoard:
    """Event files in a folder, one an attempt; readers hide what an earlier attempt wrote of steps done again."""

    name = "TensorBoard"

    def __init__(self, folder: Path, done: int) -> None:
        self._folder, self._done = folder, done
        self._writer: Any = None
        self._failure: str | None = None

    def metrics(self, metrics: Metrics) -> None:
        if self._failure is not None:
            return
        try:
            if self._writer is None:
                self._open()
            values = [self._summary.Value(tag=name, simple_value=value) for name, value in metrics.values.items()]
            self._write(step=metrics.step, summary=self._summary(value=values))
        except ImportError:
            self._failure = "the package tensorboard is not installed: pip install 'detco[core]'"
        except OSError as error:
            self._failure = str(error)

    def failure(self) -> str | None:
        return self._failure

    def close(self, *, finished: bool) -> Path | None:
        if self._writer is None:
            return None
        try:
            self._writer.close()
        except OSError as error:
            self._failure = str(error)
            return None
        return max(self._folder.glob(f"events.out.tfevents.*.{os.getpid()}.*"))

    def _open(self) -> None:
        # Its own writer, not torch's around it, which takes seconds to import.
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._writer = EventFileWriter(str(self._folder), flush_secs=FLUSH_SECONDS)
        # A start at step n tells readers to forget every value of step n and later.
        self._write(step=self._done + 1, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))

    def _write(self, **fields: Any) -> None:
        self._writer.add_event(self._event(wall_time=time.time(), **fields))


class Mlflow:
    """A run on an MLflow server, or in a folder of its format; told by a thread, so training waits for no server."""

    name = "MLflow"

    def __init__(self, config: RunConfig, run: str) -> None:
        self._config, self._run = config, run
        self._failure: str | None = None
        self._queue: queue.Queue[Metrics | str] = queue.Queue(_BACKLOG)
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def metrics(self, metrics: Metrics) -> None:
        if self._failure is None:
            self._put(metrics)

    def failure(self) -> str | None:
        return self._failure

    def close(self, *, finished: bool) -> Path | None:
        self._put("FINISHED" if finished else "KILLED")
        self._thread.join(GOODBYE_SECONDS)
        return None

    def _put(self, item: Metrics | str) -> None:
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self._failure = self._failure or f"{_BACKLOG} metric events wait to be sent: the server is too slow"

    def _work(self) -> None:
        try:
            client, run = self._open()
            while isinstance(item := self._queue.get(), Metrics):
                client.log_batch(run, metrics=_entities(item))
            client.set_terminated(run, status=item)
        except ImportError:
            self._failure = "the package mlflow-skinny is not installed: pip install 'detco[mlflow]'"
        except Exception as error:  # noqa: BLE001 - whatever its client trips over, the run goes on
            self._failure = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"

    def _open(self) -> tuple[Any, str]:
        """A client, and the id of the run to write to: that of this run's earlier attempt, when there was one."""
        # Left alone it waits for minutes for a server that is gone, tells its makers of its use, and refuses folders.
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=self._config.track.mlflow_uri)
        name = self._config.track.mlflow_experiment
        known = client.get_experiment_by_name(name)
        experiment = client.create_experiment(name) if known is None else known.experiment_id
        if self._run != "local":
            query = f"tags.`{RUN_TAG}` = '{self._run}'"
            for run in client.search_runs([experiment], filter_string=query, max_results=1):
                client.update_run(run.info.run_id, status="RUNNING")
                return client, run.info.run_id
        run = client.create_run(experiment, tags={RUN_TAG: self._run}, run_name=f"{self._config.preset} {self._run}")
        _log_parameters(client, run.info.run_id, self._config)
        return client, run.info.run_id


_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",
}


def _entities(metrics: Metrics) -> Sequence[Any]:
    from mlflow.entities import Metric

    now = round(time.time() * 1000)
    # In its folders `loss` is a file, so there cannot be a `loss/g2g` too.
    return [Metric(name.replace("/", "."), value, now, metrics.step) for name, value in metrics.values.items()]


def _log_parameters(client: Any, run: str, config: RunConfig) -> None:
    from mlflow.entities import Param

    parameters = [Param(name, str(value)) for name, value in _leaves(plain(config))]
    for start in range(0, len(parameters), _PARAMETERS_A_CALL):
        client.log_batch(run, params=parameters[start : start + _PARAMETERS_A_CALL])


def _leaves(tree: Mapping[str, Any], path: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in tree.items():
        found += _leaves(value, f"{path}{name}.") if isinstance(value, Mapping) else [(f"{path}{name}", value)]
    return found
