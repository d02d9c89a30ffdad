"""What TensorBoard and MLflow are told, read back with their own readers."""

import logging
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from detco_core.contract.config import RunConfig
from detco_core.contract.events import Metrics
from detco_core.train.tracks import RUN_TAG, Mlflow, TensorBoard

Configs = Callable[..., RunConfig]


@pytest.fixture(autouse=True)
def _quiet_libraries() -> Iterator[None]:
    levels = {name: logging.getLogger(name).level for name in ("tensorboard", "mlflow", "urllib3")}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Values by name and step, as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder))
    reader.Reload()
    return {tag: {event.step: event.value for event in reader.Scalars(tag)} for tag in reader.Tags()["scalars"]}


def test_tensorboard_shows_the_metrics(tmp_path: Path) -> None:
    track = TensorBoard(tmp_path / "tb", 0)
    track.metrics(Metrics(step=1, values={"loss": 2.5, "loss/g2g/res5": 0.5}))
    track.metrics(Metrics(step=2, values={"loss": 1.5}))
    written = track.close(finished=True)
    assert written is not None
    assert written.parent == tmp_path / "tb"
    assert scalars(tmp_path / "tb") == {"loss": {1: 2.5, 2: 1.5}, "loss/g2g/res5": {1: 0.5}}
    assert track.failure() is None


@pytest.mark.slow
def test_steps_done_again_are_shown_once(tmp_path: Path) -> None:
    """A run killed after step 4 and continued from its checkpoint of step 2."""
    for done, values in ((0, {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0}), (2, {3: 30.0})):
        track = TensorBoard(tmp_path, done)
        for step, value in values.items():
            track.metrics(Metrics(step=step, values={"loss": value}))
        track.close(finished=False)
        time.sleep(1.1)  # readers take files in the order of their names, which hold whole seconds
    assert scalars(tmp_path) == {"loss": {1: 1.0, 2: 2.0, 3: 30.0}}


def test_a_run_without_metrics_leaves_no_file(tmp_path: Path) -> None:
    assert TensorBoard(tmp_path / "tb", 0).close(finished=True) is None
    assert not (tmp_path / "tb").exists()


def test_a_folder_that_cannot_be_made_fails_once(tmp_path: Path) -> None:
    (tmp_path / "tb").write_text("in the way")
    track = TensorBoard(tmp_path / "tb", 0)
    for step in (1, 2):
        track.metrics(Metrics(step=step, values={"loss": 1.0}))
        assert track.failure()
    assert track.close(finished=True) is None


@pytest.mark.slow
def test_mlflow_keeps_one_run_over_a_resume(
    tmp_path: Path, tiny_config: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setattr("detco_core.train.tracks.GOODBYE_SECONDS", 120.0)
    config = tiny_config(track__mlflow_uri=(tmp_path / "ml").as_uri(), track__mlflow_experiment="stamps")
    for steps, finished in (((1, 2), False), ((3,), True)):
        track = Mlflow(config, "r42")
        for step in steps:
            track.metrics(Metrics(step=step, values={"loss": step / 2, "loss/g2g/res5": 1.0}))
        track.close(finished=finished)
        assert track.failure() is None

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=config.track.mlflow_uri)
    experiment = client.get_experiment_by_name("stamps")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.data.tags[RUN_TAG]) == ("FINISHED", "r42")
    assert run.data.params["method.queue_size"] == "8"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert {metric.step: metric.value for metric in history} == {1: 0.5, 2: 1.0, 3: 1.5}


@pytest.mark.slow
def test_a_server_that_is_gone_holds_nothing_up(tiny_config: Configs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        track = Mlflow(tiny_config(track__mlflow_uri=f"http://127.0.0.1:{silent.getsockname()[1]}"), "r1")
        with silent.accept()[0]:  # it waits for an answer now
            track.metrics(Metrics(step=1, values={"loss": 1.0}))
            assert track.failure() is None
    deadline = time.monotonic() + 120
    while track.failure() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    track.close(finished=True)
