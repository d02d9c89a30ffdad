"""What an extraction depends on, and the threads it may use."""

from collections.abc import Callable
from pathlib import Path

import pytest

from detco_core.contract.jobs import ExtractJob
from detco_core.data.images import ImageFiles
from detco_core.extraction.opening import open_session, question_of, threads_of_process
from tests.unit.extraction.conftest import write_json


def test_another_question_has_another_digest(make_job: Callable[..., ExtractJob], tmp_path: Path) -> None:
    jobs = [
        make_job(),
        make_job(options={"pool": "avg"}),
        make_job(boxes=write_json(tmp_path / "a.json", {})),
        make_job(boxes=write_json(tmp_path / "b.json", {"a": []})),
    ]
    manifest, files = open_session(jobs[0]).manifest, ImageFiles.open(jobs[0].dataset)
    assert len({question_of(job, manifest, files) for job in jobs}) == 4
    assert question_of(make_job("elsewhere", model="other"), manifest, files) == question_of(jobs[0], manifest, files)


@pytest.mark.parametrize(("told", "threads"), [("3", 3), ("", None), ("0", None), ("x", None)])
def test_threads_are_what_the_worker_says(monkeypatch: pytest.MonkeyPatch, told: str, threads: int | None) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert threads_of_process() == threads or (threads is None and threads_of_process() >= 1)
