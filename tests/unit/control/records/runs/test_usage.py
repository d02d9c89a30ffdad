"""Usage against sums by hand, on attempts that began and ended at known times."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, update

from control.db.models import Attempt, Run
from control.db.session import database_time, read_only, unit_of_work
from control.errors import InvalidRequest
from control.records.paging import Listing, Page
from control.records.runs.usage import Usage, UsageBy, Window, usage, window

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


@pytest.fixture
def work(engine: Engine, make_run: Callable[..., str]) -> Callable[..., str]:
    """A run with attempts: `work((begin, end, gpus, cpu_seconds), ..., **fields of NewRun)`, in minutes from noon."""

    def make(*attempts: tuple[float, float | None, int, float | None], stored: int = 0, **fields: object) -> str:
        run_id = make_run(**fields)
        with unit_of_work(engine) as session:
            session.execute(update(Run).where(Run.id == run_id).values(stored_bytes=stored))
            for number, (begin, end, gpus, cpu) in enumerate(attempts, 1):
                session.add(
                    Attempt(
                        run_id=run_id,
                        number=number,
                        fence=number,
                        worker_id="w",
                        host="h",
                        slots=[],
                        gpus=gpus,
                        cpu_seconds=cpu,
                        created_at=at(begin),
                        ended_at=None if end is None else at(end),
                        created_by="worker:h",
                    )
                )
        return run_id

    return make


@pytest.fixture
def sum_up(engine: Engine) -> Callable[..., list[Usage]]:
    def ask(by: UsageBy = "token", since: float | None = None, until: float = 1000.0) -> list[Usage]:
        within = Window(None if since is None else at(since), at(until))
        with read_only(engine) as session:
            return usage(session, by, within, Page()).items

    return ask


def near(found: Usage) -> tuple[float, float | None]:
    """GPU and CPU seconds, to a tenth."""
    return round(found.gpu_seconds, 1), None if found.cpu_seconds is None else round(found.cpu_seconds, 1)


def test_attempts_are_added_up_by_who_submitted(work: Callable[..., str], sum_up: Callable[..., list[Usage]]) -> None:
    work((0, 10, 2, 30.0), (20, 25, 1, None), stored=100, actor="ada")
    work((0, 60, 0, 12.5), stored=7, actor="ada", kind="check")
    work((0, 1, 4, None), stored=1, actor="bob")
    work(actor="cyd", stored=9)
    ada, bob = sum_up()
    assert (ada.key, ada.jobs, ada.attempts, ada.bytes) == ("ada", 2, 3, 107)
    assert near(ada) == (1500.0, 42.5)
    assert (bob.key, *near(bob)) == ("bob", 240.0, None)


def test_only_the_part_within_the_time_counts(work: Callable[..., str], sum_up: Callable[..., list[Usage]]) -> None:
    work((0, 10, 1, 60.0), (100, 110, 1, 60.0))
    (found,) = sum_up(since=5, until=102)
    assert (found.attempts, *near(found)) == (2, 420.0, 42.0)
    (found,) = sum_up(since=9.5, until=50)
    assert (found.attempts, *near(found)) == (1, 30.0, 3.0)
    assert sum_up(since=10, until=100) == []


def test_what_still_goes_on_counts_up_to_now(
    engine: Engine, work: Callable[..., str], sum_up: Callable[..., list[Usage]]
) -> None:
    work((0, None, 2, None))
    (found,) = sum_up(since=5, until=8)
    assert found.gpu_seconds == pytest.approx(360.0)
    with read_only(engine) as session:
        within, now = window(session), database_time(session)
        (found,) = usage(session, "token", within, Page()).items
    assert found.gpu_seconds == pytest.approx(2 * (now - NOON).total_seconds(), abs=5.0)


def test_keys(work: Callable[..., str], sum_up: Callable[..., list[Usage]]) -> None:
    work((0, 1, 1, None), labels={"team": "a", "b": "c=d ü"}, group="g")
    work((0, 2, 1, None), labels={"team": "a"}, kind="evaluate")
    work((0, 4, 1, None), kind="evaluate")
    by = {name: {one.key: round(one.gpu_seconds) for one in sum_up(name)} for name in ("label", "group", "kind")}
    assert by == {
        "label": {"b=c=d ü": 60, "team=a": 180},
        "group": {None: 360, "g": 60},
        "kind": {"evaluate": 360, "pretrain": 60},
    }


def test_pages_are_the_table_cut_up(engine: Engine, work: Callable[..., str]) -> None:
    for name in ("d", "b", "e", "a", "c\N{NO-BREAK SPACE}é/"):
        work((0, 1, 1, None), actor=name)
    seen: list[str | None] = []
    page, within = Page(2), Window(None, at(10))
    with read_only(engine) as session:
        while True:
            found: Listing[Usage] = usage(session, "token", within, page)
            seen += [one.key for one in found.items]
            if found.next_page_token is None:
                break
            page = Page(2, found.next_page_token)
        assert seen == ["a", "b", "c\N{NO-BREAK SPACE}é/", "d", "e"]
        with pytest.raises(InvalidRequest, match="page_token"):
            usage(session, "group", within, page)
        with pytest.raises(InvalidRequest, match="page_size"):
            usage(session, "token", within, Page(0))


@pytest.mark.parametrize(
    ("since", "until", "fault"),
    [
        (at(5), at(5), "since: must be before until"),
        (datetime.max.replace(tzinfo=UTC), None, "since: must lie between the years"),
        (None, datetime.min.replace(tzinfo=UTC), "until: must lie between the years"),
        (datetime(9998, 1, 1, tzinfo=UTC), None, "before now"),
    ],
)
def test_a_time_that_cannot_be(engine: Engine, since: datetime | None, until: datetime | None, fault: str) -> None:
    with read_only(engine) as session, pytest.raises(InvalidRequest, match=fault):
        window(session, since, until)
