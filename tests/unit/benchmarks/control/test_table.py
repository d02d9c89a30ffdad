from typing import Any

from benchmarks.control.clock import summed_up
from benchmarks.control.table import broken_promises, table


def found(p99: float, claimed: float) -> dict[str, Any]:
    times = {"what": "list runs", "p50": 5.0, "p99": p99, "worst": 200.0, "calls": 100, "cpu": 4.0}
    restart = {"lease_seconds": 10.0, "limit_seconds": 20.0, "claimed": claimed, "job_started": claimed + 9}
    claims = {"runs": 100, "claimers": 8, "seconds": 2.0, "per_second": 50.0}
    facts = {"time": "now", "commit": "c", "cpu": "x", "cores": 2, "load": 9.0, "memory_gb": 1}
    facts |= {"python": "3", "sqlalchemy": "2"}
    one = {"reads": [times], "submits": [times | {"what": "submit"}], "claims": claims, "restart": restart}
    volume = {"runs": 100, "metric_rows": 5, "long_runs": 1}
    return {"measured_with": facts, "volume": volume, "databases": {"sqlite": one, "postgresql": one}}


def test_the_table_has_every_figure_of_both() -> None:
    text = table(found(90.0, 12.0))
    assert "| list runs | 5 / 90 / 200 (4) | 5 / 90 / 200 (4) |" in text
    assert "| claims a second, 8 processes | 50 | 50 |" in text
    assert "| host lost to run claimed (lease 10 s), s | 12.0 | 12.0 |" in text


def test_what_is_promised_and_missed_is_named() -> None:
    assert broken_promises(found(90.0, 12.0)) == []
    missed = broken_promises(found(130.0, 21.0))
    assert [line.partition(":")[0] for line in missed] == ["sqlite"] * 2 + ["postgresql"] * 2


def test_of_few_calls_the_worst_is_the_percentile() -> None:
    times = summed_up("x", [1.0, 2.0, 30.0], cpu_seconds=0.006)
    assert (times.p50, times.p99, times.worst, times.cpu) == (2.0, 30.0, 30.0, 2.0)
