"""Numbers of rows, against rows counted by hand."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine

from control.db.session import read_only
from control.records.runs.counts import job_counts, slot_counts


def test_jobs_by_kind_and_state(
    engine: Engine, make_run: Callable[..., str], make_worker: Callable[..., Any], claim_run: Callable[..., Any]
) -> None:
    with read_only(engine) as session:
        assert job_counts(session) == {}
        assert slot_counts(session) == {}
    for kind in ("pretrain", "pretrain", "export"):
        make_run(kind=kind)
    claim_run(make_worker(train=2, light=1))
    with read_only(engine) as session:
        assert job_counts(session) == {
            ("pretrain", "queued"): 1,
            ("pretrain", "starting"): 1,
            ("export", "queued"): 1,
        }
        assert slot_counts(session) == {("train", "taken"): 1, ("train", "free"): 1, ("light", "free"): 1}
