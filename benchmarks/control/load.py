"""Fills a database with the history of a busy service: many runs, their events, attempts and metrics."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy import JSON, Column, Engine
from sqlalchemy import insert as insert_into

from control.db.ids import new_id
from control.db.models import Attempt, Metric, MetricLatest, Run, RunEvent, RunLabel
from control.db.session import unit_of_work
from control.records.scheduling import workers
from control.records.scheduling.workers import NewSlot, NewWorker
from detco_core.contract.config import override
from detco_core.contract.presets import smoke
from detco_core.contract.reader import plain

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = ("loss", "lr", "images_per_second", "contrast_accuracy/g2g/res5")
LONG_STEPS = 10_000
"""Steps with metrics of a long run; a short one has few."""
EVALUATIONS = 20
"""One job in so many is an evaluation."""
_BATCH = 20_000


@dataclass(frozen=True, slots=True)
class Volume:
    """How much there is."""

    runs: int
    metric_rows: int
    long_runs: int = 20
    """Runs with `LONG_STEPS` values of each key; the others share what is left of the rows."""
    queued: int = 50
    """Runs that wait; all others have ended."""

    @property
    def short_steps(self) -> int:
        """Steps with metrics of a run that is not long."""
        left = self.metric_rows - self.long_runs * self.long_steps * len(KEYS)
        return max(1, round(left / len(KEYS) / max(1, self.runs - self.long_runs)))

    @property
    def long_steps(self) -> int:
        """Never more than half of the rows for all long runs."""
        return min(LONG_STEPS, self.metric_rows // 2 // len(KEYS) // max(1, self.long_runs))


def load(engine: Engine, volume: Volume) -> list[str]:
    """Write it all, in bulk; returns the ids of the pretraining runs, oldest first, the long ones at the end."""
    ids = sorted(new_id("run") for _ in range(volume.runs))
    with unit_of_work(engine) as session:  # a worker without a free place: what waits has a reason to
        slot = NewSlot(uuid="light:0", purpose="light")
        workers.register(session, NewWorker(host="a", pid=1, software="0", roots=("/",), slots=(slot,)))
    _copy(engine, Run.__table__, _runs(ids, volume))
    _copy(engine, RunLabel.__table__, _labels(ids))
    _copy(engine, Attempt.__table__, _attempts(ids))
    _copy(engine, RunEvent.__table__, _events(ids))
    _copy(engine, Metric.__table__, _metrics(ids, volume))
    _copy(engine, MetricLatest.__table__, _latest(ids, volume))
    _settle(engine)
    return [run_id for n, run_id in enumerate(ids) if n % EVALUATIONS]


def _runs(ids: Sequence[str], volume: Volume) -> Iterator[dict[str, Any]]:
    spec = {"config": plain(override(smoke(), {})), "gpus": 1, "init": None}
    evaluation = {"task": "knn", "source": {"weights": "random"}, "options": {"k": 20}, "seed": 0}
    for n, run_id in enumerate(ids):
        waits = len(ids) // 2 <= n < len(ids) // 2 + volume.queued
        when = BEGIN + timedelta(seconds=30 * n)
        yield {
            "id": run_id,
            "kind": "pretrain" if n % EVALUATIONS else "evaluate",
            "queue": "gpu" if n % EVALUATIONS else "cpu",
            "name": f"run {n}",
            "labels": _labels_of(n),
            "group": f"group-{n // 500}",
            "spec": spec if n % EVALUATIONS else evaluation,
            "spec_digest": "sha256:" + "0" * 64,
            "state": "queued" if waits else ("failed" if n % 13 == 0 else "completed"),
            "version": 3,
            "attempt": 0 if waits else 1,
            "fence": 1,
            "kicked_at": when,
            "progress": {"step": 20, "steps": 20},
            "finished_at": None if waits else when + timedelta(minutes=5),
            "created_at": when,
            "created_by": f"person-{n % 7}",
        }


def _labels_of(n: int) -> dict[str, str]:
    """One that a fiftieth of the runs has, and one of a hundred neighbours."""
    return {"team": f"t{n % 50}", "sweep": f"s{n // 100}"}


def _labels(ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    for n, run_id in enumerate(ids):
        for key, value in _labels_of(n).items():
            yield {"run_id": run_id, "key": key, "value": value}


def _attempts(ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    for run_id in ids:
        ended = {"state": "completed", "exit_code": 0, "log_tail": "done", "ended_at": BEGIN}
        where = {"run_id": run_id, "number": 1, "fence": 1, "worker_id": "w", "host": "a", "slots": ["cpu:0"]}
        yield where | ended | {"created_at": BEGIN, "created_by": "worker:a"}


def _events(ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    for run_id in ids:
        for seq, state in enumerate(("queued", "running", "completed")):
            payload = {"state": state, "reason": None}
            yield {"run_id": run_id, "fence": seq, "type": "state", "payload": payload, "time": BEGIN}


def _steps(ids: Sequence[str], volume: Volume) -> Iterator[tuple[str, int]]:
    for n, run_id in enumerate(ids):
        yield run_id, volume.long_steps if n >= len(ids) - volume.long_runs else volume.short_steps


def _metrics(ids: Sequence[str], volume: Volume) -> Iterator[dict[str, Any]]:
    for run_id, steps in _steps(ids, volume):
        for step in range(10, 10 * steps + 10, 10):
            for key in KEYS:
                yield {"run_id": run_id, "key": key, "step": step, "value": _value(step), "time": BEGIN}


def _latest(ids: Sequence[str], volume: Volume) -> Iterator[dict[str, Any]]:
    for run_id, steps in _steps(ids, volume):
        ends = {"value": _value(10 * steps), "lowest": 0.0, "highest": 9.0}
        for key in KEYS:
            yield {"run_id": run_id, "key": key, "step": 10 * steps, **ends}


@cache
def _value(step: int) -> float:
    return 8 * math.exp(-step / 5000) + math.sin(step) / 10


def _copy(engine: Engine, table: Any, rows: Iterable[Mapping[str, Any]]) -> None:
    """COPY on PostgreSQL, many rows to a statement on SQLite; what a row does not name gets the model's default."""
    # Counters are left to the database, whose next value must not be one of ours.
    columns = [column for column in table.columns if column is not table.autoincrement_column]
    whole = ([_stored(engine, column, row) for column in columns] for row in rows)
    names = [column.name for column in columns]
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        if engine.dialect.name == "postgresql":
            wanted = sql.SQL("COPY {} ({}) FROM STDIN").format(
                sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, names))
            )
            with driver.cursor() as cursor, cursor.copy(wanted) as copy:
                for row in whole:
                    copy.write_row(row)
        else:
            insert = str(insert_into(table).compile(dialect=engine.dialect, column_keys=names))
            driver.execute("BEGIN")
            for batch in iter(lambda: list(islice(whole, _BATCH)), []):
                driver.executemany(insert, batch)
        driver.commit()


def _stored(engine: Engine, column: Column[Any], row: Mapping[str, Any]) -> Any:
    value = row[column.name] if column.name in row else _default(column)
    if engine.dialect.name == "postgresql":
        return Jsonb(value) if isinstance(column.type, JSON) and value is not None else value
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")
    return json.dumps(value) if isinstance(column.type, JSON) and value is not None else value


def _default(column: Column[Any]) -> Any:
    default: Any = column.default
    if default is None:
        return None
    return default.arg(None) if default.is_callable else default.arg


def _settle(engine: Engine) -> None:
    """What a database does by itself in the course of a day: statistics, and on PostgreSQL the visibility map."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("VACUUM ANALYZE")
    if engine.dialect.name == "sqlite":
        with engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE")
