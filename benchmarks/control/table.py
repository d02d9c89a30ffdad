"""The figures of both databases side by side, and what of them is promised."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.control.clock import Times

READ_MILLISECONDS = 100.0
"""The 99th percentile of every list and of metrics, with 100k runs and 5M metric rows."""
PROMISES = "p99 of each look under 100 ms; a lost host's run claimed again within its lease and 10 s"


def table(found: Mapping[str, Any]) -> str:
    """Markdown: where it was measured, then a table for each kind of figure."""
    facts, volume = found["measured_with"], found["volume"]
    databases: Mapping[str, Any] = found["databases"]
    lines = [
        "# Control plane",
        "",
        f"Measured {facts['time']} at {facts['commit']} on {facts['cpu']} ({facts['cores']} cores, load "
        f"{facts['load']:.1f} when it began, {facts['memory_gb']} GB), Python {facts['python']}, SQLAlchemy "
        f"{facts['sqlalchemy']}; {volume['runs']:,} runs and {volume['metric_rows']:,} metric rows, "
        f"{volume['long_runs']} of the runs with 10,000 values of each metric. API, database and caller "
        "share the cores.",
        f"Promised: {PROMISES}.",
        "",
        _row("milliseconds: p50 / p99 / worst (CPU of service and database)", *databases),
        _row("---", *("---:" for _ in databases)),
    ]
    for section in ("reads", "submits"):
        lines += [_row(what, *cells) for what, cells in _times(databases, section)]
    lines += ["", _row("", *databases), _row("---", *("---:" for _ in databases))]
    lines += [_row(what, *cells) for what, cells in _others(databases)]
    return "\n".join(lines)


def broken_promises(found: Mapping[str, Any]) -> list[str]:
    """What is not kept, in words."""
    broken = []
    for kind, of in found["databases"].items():
        for times in of["reads"]:
            if times["p99"] >= READ_MILLISECONDS:
                broken.append(f"{kind}: {times['what']}: p99 {times['p99']:.0f} ms")
        restart = of.get("restart")
        if restart and restart["claimed"] > restart["limit_seconds"]:
            broken.append(f"{kind}: the run was claimed again after {restart['claimed']:.1f} s")
    return broken


def _times(databases: Mapping[str, Any], section: str) -> Iterator[tuple[str, list[str]]]:
    by_name = [{times["what"]: Times(**times) for times in of[section]} for of in databases.values()]
    for what in by_name[0]:
        yield what, [f"{t.p50:.0f} / {t.p99:.0f} / {t.worst:.0f} ({t.cpu:.0f})" for t in (of[what] for of in by_name)]


def _others(databases: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    claims = [of["claims"] for of in databases.values()]
    yield f"claims a second, {claims[0]['claimers']} processes", [f"{one['per_second']:.0f}" for one in claims]
    restarts = [of["restart"] for of in databases.values() if "restart" in of]
    if len(restarts) == len(claims):
        lease = restarts[0]["lease_seconds"]
        yield f"host lost to run claimed (lease {lease:.0f} s), s", [f"{one['claimed']:.1f}" for one in restarts]
        yield "host lost to job started, s", [f"{one['job_started']:.1f}" for one in restarts]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
