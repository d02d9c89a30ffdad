"""Jobs that are killed, stopped, or run out of disk lose one shard at most, and end with the bytes of others."""

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from detco_core.contract.datasets import DatasetRef
from detco_core.contract.errors import DataError
from detco_core.contract.events import ArtifactSaved, Body, Started, decode
from detco_core.contract.extractions.files import FOLDER, ShardFiles
from detco_core.contract.jobs import EVENTS_FILE, ExtractJob
from detco_core.contract.reader import plain
from detco_core.extraction.shards import Shard, ShardWriter
from detco_core.runtime.pace import Pace
from detco_core.runtime.reporter import Reporter
from detco_core.runtime.stop import Interrupted
from tests.full_disk import small_disk
from tests.unit.extraction.conftest import extract, files

PATIENCE = 120.0
OPTIONS = {"levels": ["res4"], "shard_images": 3}
Make = Callable[..., ExtractJob]


@pytest.fixture
def complete(make_job: Make) -> dict[str, bytes]:
    """The files of a job that nothing disturbed."""
    job = make_job("undisturbed", OPTIONS)
    extract(job)
    return files(job)


class _Killed(BaseException):
    """As SIGKILL, as far as the files of the job show it."""


@pytest.mark.parametrize("told", [0, 1, 3, 4])
def test_a_killed_job_goes_on_after_its_last_whole_shard(
    make_job: Make, complete: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, told: int
) -> None:
    """Killed after it named so many files; what it does then are the bytes of a job that lived."""
    killed, again = make_job("killed", OPTIONS), make_job("again", OPTIONS)
    names: list[str] = []

    def dies(self: Reporter, body: Any, emit: Any = Reporter.emit) -> None:
        if isinstance(body, ArtifactSaved):
            if len(names) == told:
                raise _Killed
            names.append(body.name)
        emit(self, body)

    with monkeypatch.context() as patch:
        patch.setattr(Reporter, "emit", dies)
        with pytest.raises(_Killed):
            extract(killed)
    # What a worker brings to the next attempt: the index parts that were told of, and no shard.
    parts = [name for name in names if name.endswith(".jsonl")]
    for part in parts:
        target = Path(again.folder) / part
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((Path(killed.folder) / part).read_bytes())
    started = extract(again)[0]
    assert isinstance(started, Started)
    assert started.resumed_from == (3 * len(parts) or None)
    taken_over = {Path(part).with_suffix(".safetensors").name for part in parts}
    assert files(again) == {name: data for name, data in complete.items() if name not in taken_over}


_DIES = """
import os, signal, sys
from pathlib import Path
from detco_core import __main__

left = int(sys.argv[1])

def replace(self, target, really=Path.replace):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return really(self, target)

Path.replace = replace
__main__.main(["extract", sys.argv[2]])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("moved", "resumed"), [(2, 3), (3, 3), (4, 6)])
def test_killed_between_a_shard_and_its_record_the_folder_is_taken_up(
    make_job: Make, complete: dict[str, bytes], tmp_path: Path, moved: int, resumed: int
) -> None:
    """By the kernel, before the rename of shard 1, before that of its part, and after both."""
    job = make_job("killed", OPTIONS)
    (tmp_path / "job.json").write_text(json.dumps(plain(job)))
    command = [sys.executable, "-c", _DIES, str(moved), str(tmp_path / "job.json")]
    dead = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    folder = Path(job.folder) / FOLDER
    assert len([path for path in folder.iterdir() if path.name.endswith(".tmp")]) == 1
    assert len(list(folder.glob("*.jsonl"))) == resumed // 3
    extract(job)
    assert starts(job)[-1] == resumed
    assert files(job) == complete


@pytest.mark.mounts
def test_a_full_disk_costs_the_shard_that_did_not_fit(
    make_job: Make, complete: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", kilobytes=128) as disk:
        job = make_job("disk/job", OPTIONS)

        def emit(self: Reporter, body: Any, really: Any = Reporter.emit) -> None:
            really(self, body)
            if isinstance(body, ArtifactSaved) and body.name.endswith(".jsonl"):
                disk.fill()

        with monkeypatch.context() as patch:
            patch.setattr(Reporter, "emit", emit)
            with pytest.raises(OSError, match="No space left"):
                extract(job)
        assert sorted(files(job)) == ["00000.jsonl", "00000.safetensors"]
        disk.make_room()
        extract(job)
        assert starts(job) == [None, 3]
        assert files(job) == complete


def test_a_job_that_is_stopped_still_tells_of_the_shard_that_is_being_written(
    make_job: Make, complete: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job("stopped", OPTIONS)
    stopped = threading.Event()

    def write(self: ShardWriter, shard: Shard, really: Any = ShardWriter.write) -> ShardFiles:
        assert stopped.wait(PATIENCE)
        written: ShardFiles = really(self, shard)
        return written

    def count(self: Pace, images: int, waited: float = 0.0, really: Any = Pace.count) -> None:
        really(self, images, waited)
        if done(self) == 4:  # the first of the next shard
            stopped.set()
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(ShardWriter, "write", write)
        patch.setattr(Pace, "count", count)
        with pytest.raises(Interrupted):
            extract(job)
    told = [body.name for body in said(job) if isinstance(body, ArtifactSaved)]
    assert told == [f"{FOLDER}/00000.safetensors", f"{FOLDER}/00000.jsonl"]
    extract(job)
    assert starts(job) == [None, 3]
    assert files(job) == complete


def test_images_that_came_meanwhile_are_another_question(make_job: Make, tmp_path: Path, photos: Path) -> None:
    """Of a folder that was listed, not scanned: places of images would have moved."""
    shutil.copytree(photos, tmp_path / "photos")
    job = replace(make_job(), dataset=DatasetRef(name="here", kind="images", root=str(tmp_path / "photos")))
    extract(job)
    extract(job)
    shutil.copy(photos / "d" / "00.png", tmp_path / "photos" / "a.png")
    with pytest.raises(DataError, match="holds shards of another extraction"):
        extract(job)


def said(job: ExtractJob) -> list[Body]:
    return [decode(line).body for line in (Path(job.folder) / EVENTS_FILE).read_text().splitlines()]


def starts(job: ExtractJob) -> list[int | None]:
    """Where each process of the job began."""
    return [body.resumed_from for body in said(job) if isinstance(body, Started)]


def done(pace: Pace) -> int:
    return pace._done
