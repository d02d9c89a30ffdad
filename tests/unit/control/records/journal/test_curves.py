"""Against a slow reference, at the boundaries of stretches and ranges; and by the indices they should use."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from control.db.session import read_only, unit_of_work
from control.records.journal import curves as module
from control.records.journal.curves import Curve, Wanted, curves
from control.records.journal.metrics import Sample, record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Values = dict[str, dict[str, dict[int, float]]]
"""By run, key and step."""


def reference(values: Values, wanted: Wanted, most: int) -> list[Curve]:
    """What `curves` is to give, by hand."""
    found = []
    for run_id in wanted.runs:
        for key in sorted(values.get(run_id, {})):
            last = wanted.last_step
            inside = {
                step: value
                for step, value in sorted(values[run_id][key].items())
                if step >= wanted.first_step and (last is None or step <= last)
            }
            if inside and (not wanted.keys or key in wanted.keys):
                found.append(gather(run_id, key, inside, most))
    return found


def gather(run_id: str, key: str, inside: dict[int, float], most: int) -> Curve:
    first, last = min(inside), max(inside)
    width = 1 if len(inside) <= most else (last - first) // most + 1
    stretches: dict[int, list[int]] = {}
    for step in inside:
        stretches.setdefault((step - first) // width, []).append(step)
    points = [
        (s[-1], inside[s[-1]], s[0], min(inside[n] for n in s), max(inside[n] for n in s), len(s))
        for _, s in sorted(stretches.items())
    ]
    return Curve(run_id, key, *map(tuple, zip(*points, strict=True)))


def alike(curve: Curve) -> tuple[Any, ...]:
    columns = (curve.steps, curve.values, curve.first_steps, curve.lowest, curve.highest, curve.counts)
    return (curve.run_id, curve.key, *(tuple(column) for column in columns))


@pytest.fixture
def values(engine: Engine, make_run: Callable[..., str]) -> Values:
    """Short and long, dense and sparse curves, from step 0 and from later ones."""
    chance = random.Random(0)
    shapes = {"dense": range(100), "later": range(17, 90, 3), "one": [5], "few": [0, 1, 2, 1000, 10**12]}
    shapes |= {"sparse": sorted(chance.sample(range(500), 60))}
    made: Values = {}
    for keys in (tuple(shapes), ("dense", "one"), ("one", "few"), ()):
        run_id = make_run()
        made[run_id] = {key: {step: chance.uniform(-9, 9) for step in shapes[key]} for key in keys}
        steps = {step for curve in made[run_id].values() for step in curve}
        samples = [Sample(s, {k: c[s] for k, c in made[run_id].items() if s in c}, NOW) for s in sorted(steps)]
        with unit_of_work(engine) as session:
            record(session, run_id, samples)
    return made


RANGES: Sequence[dict[str, Any]] = (
    {},
    {"first_step": 1, "last_step": 98},
    {"first_step": 50, "last_step": 50},
    {"first_step": 5, "last_step": 5},
    {"first_step": 10**13},
    {"last_step": 0},
    {"keys": ("few", "dense", "unknown")},
)


def test_they_are_what_a_slow_reference_says(engine: Engine, values: Values) -> None:
    with read_only(engine) as session:
        for span in RANGES:
            for most in (1, 2, 3, 7, 33, 59, 60, 61, 99, 100, 101):
                wanted = Wanted(runs=tuple(reversed(values)), max_points=most, **span)
                found = [alike(curve) for curve in curves(session, wanted)]
                assert found == [alike(curve) for curve in reference(values, wanted, most)], wanted
                assert all(len(curve[2]) <= most for curve in found)


def test_all_together_are_bounded(engine: Engine, values: Values, monkeypatch: pytest.MonkeyPatch) -> None:
    count = sum(len(keys) for keys in values.values())
    monkeypatch.setattr(module, "MOST_POINTS", 10 * count + 1)
    wanted = Wanted(runs=tuple(values))
    with read_only(engine) as session:
        found = curves(session, wanted)
    assert [alike(curve) for curve in found] == [alike(curve) for curve in reference(values, wanted, 10)]
    monkeypatch.setattr(module, "MOST_POINTS", 1)
    with read_only(engine) as session:
        assert {len(curve.steps) for curve in curves(session, wanted)} == {1}


def test_no_row_of_another_run_or_step_is_read(engine: Engine, values: Values) -> None:
    """Every look at the table goes by its primary key, and as far down in it as it can."""
    run_id = next(iter(values))
    wanted = Wanted(runs=[run_id], keys=["dense", "few"], first_step=3, max_points=10)
    for query in (module._ends(wanted), module._points(wanted, module._Span(run_id, "dense", 11, 3, 99), 10)):
        assert_by_key(engine, str(query.compile(engine, compile_kwargs={"literal_binds": True})))


def assert_by_key(engine: Engine, query: str) -> None:
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
            looks = [line for line in plan if "metrics" in line]
            assert looks
            assert all("USING PRIMARY KEY (run_id=? AND key=? AND step" in line for line in looks), plan
        else:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # a small table would be read whole
            plan = [row[0] for row in connection.exec_driver_sql(f"EXPLAIN {query}")]
            assert not [line for line in plan if "Seq Scan" in line], plan
            assert [line for line in plan if "pk_metrics" in line], plan
