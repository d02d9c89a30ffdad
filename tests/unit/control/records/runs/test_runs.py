from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from control.db.session import unit_of_work
from control.errors import NotFound
from control.records.paging import Page
from control.records.runs.runs import get_run, list_runs

Submit = Callable[..., str]


def test_kinds_are_told_apart(engine: Engine, make_run: Submit) -> None:
    run_id = make_run(kind="evaluate")
    with unit_of_work(engine) as session:
        assert get_run(session, run_id, ["evaluate"]).id == run_id
        with pytest.raises(NotFound, match="no run"):
            get_run(session, run_id, ["pretrain"])
        with pytest.raises(NotFound, match="no evaluation 'run_x'"):
            get_run(session, "run_x", ["evaluate"])


def test_lists_are_filtered_and_paged_newest_first(engine: Engine, make_run: Submit) -> None:
    ids = [make_run(group="g", labels={"n": str(n), "team.x/y": "a"}) for n in range(5)]
    make_run(kind="export", group="g")
    with unit_of_work(engine) as session:
        first = list_runs(session, ["pretrain"], group="g", page=Page(3))
        rest = list_runs(session, ["pretrain"], group="g", page=Page(3, first.next_page_token))
        assert [run.id for run in first.items + rest.items] == sorted(ids, reverse=True)
        assert rest.next_page_token is None
        assert [run.labels["n"] for run in list_runs(session, ["pretrain"], label="n=3").items] == ["3"]
        assert len(list_runs(session, ["pretrain"], label="team.x/y").items) == 5
        assert list_runs(session, ["pretrain"], label="absent").items == []
        assert list_runs(session, ["pretrain"], state="running").items == []
        assert list_runs(session, ["pretrain"], group="other\0").items == []
