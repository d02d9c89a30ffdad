"""The doors: exit codes, closing events, and what is imported for them."""

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import models

from detco_core.__main__ import _WORK, EXIT_INTERRUPTED, main
from detco_core.contract.config import override
from detco_core.contract.datasets import DatasetRef
from detco_core.contract.events import (
    EXIT_STOPPED,
    ArtifactSaved,
    Body,
    Failed,
    Finished,
    Progress,
    Reported,
    Started,
    Stopped,
    decode,
)
from detco_core.contract.jobs import CheckJob, ExportJob, ExtractJob, ImportJob, PretrainJob
from detco_core.contract.presets import preset
from detco_core.contract.reader import plain
from detco_core.data.synthetic import write_photos
from detco_core.inference.tiny import write_tiny_bundle
from detco_core.runtime.reporter import Reporter
from detco_core.runtime.stop import StopRequest

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from detco_core.__main__ import main; sys.exit(main())"


@pytest.fixture(autouse=True)
def _deterministic_switch_as_found() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 8, size=(64, 48))
    return folder


@pytest.fixture
def write_job(tmp_path: Path) -> Callable[[Any], Path]:
    def write(job: Any) -> Path:
        path = tmp_path / "job.json"
        path.write_text(json.dumps(plain(job)))
        return path

    return write


@pytest.fixture
def pretraining(tmp_path: Path, photos: Path) -> Callable[..., PretrainJob]:
    tiny = {
        "train.steps": 3,
        "train.batch_size": 4,
        "data.workers": 0,
        "views.global_size": 32,
        "views.local_size": 48,
        "views.patch_size": 16,
        "method.queue_size": 8,
        "device.kind": "cpu",
    }

    def build(root: Path = photos, **overrides: Any) -> PretrainJob:
        dotted = {key.replace("__", "."): value for key, value in overrides.items()}
        dataset = DatasetRef(name="photos@1", kind="images", root=str(root))
        return PretrainJob(folder=str(tmp_path), config=override(preset("smoke"), {**tiny, **dotted}), dataset=dataset)

    return build


def told(folder: Path) -> list[Body]:
    path = folder / "events.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [decode(line).body for line in lines if line.endswith("\n")]


def test_check_needs_no_torch(tmp_path: Path, photos: Path, write_job: Callable[[Any], Path]) -> None:
    path = write_job(CheckJob(folder=str(tmp_path), root=str(photos)))
    command = [sys.executable, "-c", WITHOUT_TORCH, "check", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    events = told(tmp_path)
    assert isinstance(events[0], Started)
    assert Progress(step=8, steps=8) in events
    artifact, report, finished = events[-3:]
    manifest = (tmp_path / "manifest.jsonl").read_bytes()
    digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
    assert artifact == ArtifactSaved(name="manifest.jsonl", path="manifest.jsonl", bytes=len(manifest), sha256=digest)
    assert isinstance(report, Reported)
    assert (report.report["images"], report.report["digest"]) == (8, digest)
    assert finished == Finished()


def test_extract_computes_without_torch_and_goes_on(
    tmp_path: Path, photos: Path, write_job: Callable[[Any], Path]
) -> None:
    write_tiny_bundle(tmp_path / "bundle")
    dataset = DatasetRef(name="here", kind="images", root=str(photos))
    path = write_job(ExtractJob(folder=str(tmp_path), bundle=str(tmp_path / "bundle"), dataset=dataset))
    command = [sys.executable, "-c", WITHOUT_TORCH, "extract", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report, finished = told(tmp_path)[-2:]
    assert isinstance(report, Reported)
    assert (report.report["images"], report.report["broken"]) == (8, 0)
    assert finished == Finished()
    assert main(["extract", str(path)]) == 0
    assert [body.resumed_from for body in told(tmp_path) if isinstance(body, Started)] == [None, 8]


def test_import_writes_weights_or_says_what_is_wrong(tmp_path: Path, write_job: Callable[[Any], Path]) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "foreign.pth")
    job = ImportJob(folder=str(tmp_path), path=str(tmp_path / "foreign.pth"), architecture="resnet18")
    assert main(["import", str(write_job(job))]) == 1
    failed = told(tmp_path)[-1]
    assert isinstance(failed, Failed)
    assert failed.kind == "user"
    assert "foreign.pth does not hold resnet18: conv1.weight is [1], not [64, 3, 7, 7]" in failed.message
    torch.save(models.resnet18().state_dict(), tmp_path / "foreign.pth")
    assert main(["import", str(write_job(job))]) == 0
    assert [type(body) for body in told(tmp_path)][-4:] == [Started, ArtifactSaved, Reported, Finished]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"folder": "x", "surprise": 1}'])
def test_a_job_that_cannot_be_read_ends_beside_its_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.json").write_text(text)
    assert main(["check", str(tmp_path / "job.json")]) == 1
    (failed,) = told(tmp_path)
    assert isinstance(failed, Failed)
    assert failed.kind == "user"
    assert "job.json" in failed.message


@pytest.mark.slow
def test_a_run_to_its_end(
    tmp_path: Path, write_job: Callable[[Any], Path], pretraining: Callable[..., PretrainJob]
) -> None:
    assert main(["pretrain", str(write_job(pretraining(train__steps=1)))]) == 0
    assert told(tmp_path)[-1] == Finished(step=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "kind", "words"),
    [
        ({"optim__lr": 1e30}, "nan", "NaN or infinite"),
        ({"method__queue_size": 2**44}, "out_of_memory", "lower train.batch_size"),
        ({"method__name": "simclr"}, "user", "method.name"),
        ({"train__batch_size": 16, "method__queue_size": 16}, "user", "fewer than one batch of 16"),
    ],
)
def test_what_went_wrong_is_the_last_event(
    tmp_path: Path,
    write_job: Callable[[Any], Path],
    pretraining: Callable[..., PretrainJob],
    overrides: dict[str, Any],
    kind: str,
    words: str,
) -> None:
    assert main(["pretrain", str(write_job(pretraining(**overrides)))]) == 1
    failed = told(tmp_path)[-1]
    assert isinstance(failed, Failed)
    assert failed.kind == kind
    assert words in failed.message


def test_a_full_disk_is_no_fault_of_the_run_and_names_the_remedy(
    tmp_path: Path,
    write_job: Callable[[Any], Path],
    pretraining: Callable[..., PretrainJob],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def work(job: PretrainJob, reporter: Reporter, stop: StopRequest) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "tensorboard")

    monkeypatch.setitem(_WORK, "pretrain", work)
    assert main(["pretrain", str(write_job(pretraining()))]) == 1
    (failed,) = told(tmp_path)
    assert isinstance(failed, Failed)
    assert (failed.kind, "free disk space" in failed.message) == ("internal", True)


def test_data_that_are_not_there(
    tmp_path: Path, write_job: Callable[[Any], Path], pretraining: Callable[..., PretrainJob]
) -> None:
    assert main(["pretrain", str(write_job(pretraining(root=tmp_path / "gone")))]) == 1
    failed = told(tmp_path)[-1]
    assert isinstance(failed, Failed)
    assert (failed.kind, "gone" in failed.message) == ("user", True)


def test_a_checkpoint_that_is_not_there(
    tmp_path: Path, write_job: Callable[[Any], Path], pretraining: Callable[..., PretrainJob]
) -> None:
    assert main(["pretrain", str(write_job(pretraining())), "--resume", str(tmp_path / "gone.pt")]) == 1
    assert told(tmp_path)[-1] == Failed(kind="user", message=f"no checkpoint at {tmp_path / 'gone.pt'}")


def test_export_of_nothing(tmp_path: Path, write_job: Callable[[Any], Path]) -> None:
    job = ExportJob(folder=str(tmp_path), checkpoint=str(tmp_path / "gone.pt"))
    assert main(["export", str(write_job(job))]) == 1
    failed = told(tmp_path)[-1]
    assert isinstance(failed, Failed)
    assert failed.kind == "user"


@pytest.mark.slow
def test_work_without_anything_to_save_stops_at_once(tmp_path: Path, write_job: Callable[[Any], Path]) -> None:
    (photo,) = write_photos(tmp_path / "many", 1, size=(1600, 1200))
    for n in range(300):
        shutil.copy(photo, photo.with_name(f"{n}.jpg"))
    path = write_job(CheckJob(folder=str(tmp_path), root=str(tmp_path / "many")))
    command = [sys.executable, "-m", "detco_core", "check", str(path)]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ}) as process:
        while not told(tmp_path):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == EXIT_STOPPED
    assert told(tmp_path)[-1] == Stopped(step=0)


def test_a_second_ctrl_c_leaves_without_a_last_event(
    pretraining: Callable[..., PretrainJob],
    write_job: Callable[[Any], Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    def work(job: PretrainJob, reporter: Reporter, stop: StopRequest) -> None:
        reporter.emit(Started(environment={}))
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setitem(_WORK, "pretrain", work)
    assert main(["pretrain", str(write_job(pretraining()))]) == EXIT_INTERRUPTED
    assert "since the last checkpoint is lost" in caplog.text
    assert [type(event) for event in told(tmp_path)] == [Started]


def test_help_names_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in ("pretrain", "evaluate", "export", "check", "--resume"))
