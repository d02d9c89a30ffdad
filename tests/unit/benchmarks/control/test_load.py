from pathlib import Path

from sqlalchemy import func, select

from benchmarks.control.load import KEYS, Volume, load
from control.db.migrate import upgrade
from control.db.models import Metric, Run
from control.db.session import open_engine, read_only, unit_of_work
from control.records.journal.curves import Wanted, curves
from control.records.runs.labels import has_label
from control.records.runs.runs import list_runs
from control.records.runs.submission import NewRun, create_run


def test_a_small_history_is_one_the_service_can_read_and_go_on_from(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/detco.sqlite3")
    upgrade(engine)
    volume = Volume(runs=60, metric_rows=2000, long_runs=2, queued=5)
    runs = load(engine, volume)
    with read_only(engine) as session:
        assert abs((session.scalar(select(func.count()).select_from(Metric)) or 0) - volume.metric_rows) < 600
        assert len(list_runs(session, ("pretrain",), state="queued").items) == 5
        assert session.scalars(select(Run.id).where(has_label("team=t7"))).all() != []
        assert [len(c.steps) for c in curves(session, Wanted(runs=runs[-1:]))] == [volume.long_steps] * len(KEYS)
    with unit_of_work(engine) as session:  # counters go on where the load ended
        create_run(session, NewRun(kind="export", spec={}, actor="test"))
