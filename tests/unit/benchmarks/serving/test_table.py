from typing import Any

import pytest

from benchmarks.serving.table import FIGURES, missed, told


def server(**more: Any) -> dict[str, Any]:
    return {"cpu_ms": 80.0, "cpu_ratio": 1.05, "per_second": 12.0, "ours_over_it": 1.0} | more


def figures() -> dict[str, Any]:
    """All promises kept, the narrow ones just so."""
    burst = {"accepted": 64, "refused": 86, "refused_without_a_time": 0, "otherwise": {}, "slowest": 6.0}
    memory: dict[str, Any] = {
        "idle": 440_000_000,
        "after_the_burst": 900_000_000,
        "settled": 460_000_000,
        "settled_over_idle": 1.045,
    }
    more = {"mixed_requests": 10_000, "mixed_samples": [450_000_000], "late_over_early": 1.01}
    swaps = {"swaps": 20, "swap_seconds": 0.6, "answers": 200, "failed": {}, "of_no_version": 0, "slowest": 1.0}
    way = {"cpu_ms": 60.0, "cpu_ratio": 1.0, "latency_ms": 40.0, "latency_ratio": 1.0, "per_second": 25.0}
    return {
        "cost": {"callers": {"1": {"floor": server(), "detco": server(), "litserve": server()}}, "peers_missing": {}},
        "hang_ups": {"hang_ups": 60, "servers": {"detco": {"next_seconds": 0.2, "ratio": 1.9}}},
        "corrupt": {"servers": {"detco": {"good": 60, "good_failed": 0, "damaged_told": {"422": 4}}}},
        "burst": {"burst": 150, "deadline": 30.0, "servers": {"detco": burst}},
        "memory": memory | more,
        "swaps": swaps | {"by_version": {"1": 100, "2": 100}},
        "wires": {"grpcio": "1", "callers": {"1": {"detco": way, "gRPC": way | {"cpu_ratio": 1.02}}}},
    }


def kept(found: dict[str, Any]) -> dict[str, Any]:
    facts = {"time": "now", "commit": "c0ffee", "cpu": "x", "cores": 2, "load": 1.0, "python": "3"}
    facts |= {"onnxruntime-gpu": "1", "fastapi": "1", "uvicorn": "1"}
    return {n: {"measured_with": facts, "profile": "full", "peers": "none", "found": one} for n, one in found.items()}


def test_every_figure_stands_with_where_it_was_measured() -> None:
    text = told(kept(figures()))
    assert text.count("at c0ffee") == len(FIGURES) == len(figures())
    assert "No promise is missed" in text
    assert "| 1 | 80.0 (1.05); 12.0 (1.00) |" in text
    assert "| detco | 0 of 60 | 4 x 422 |" in text
    assert "| 1 | 60.0 (1.00); 40.0 (1.00); 25.0 | 60.0 (1.02); 40.0 (1.00); 25.0 |" in text


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("cost.callers.1.detco.cpu_ratio", 1.11, "1.11 times the floor"),
        ("cost.callers.1.litserve.ours_over_it", 0.97, "of litserve at 1 callers"),
        ("hang_ups.servers.detco.ratio", 2.1, "2.1 times as long"),
        ("corrupt.servers.detco.good_failed", 1, "1 of 60 good requests"),
        ("corrupt.servers.detco.damaged_told", {"500": 1}, "answered 500"),
        ("burst.servers.detco.otherwise", {"504": 2}, "2 x 504"),
        ("burst.servers.detco.refused_without_a_time", 3, "no time to come back"),
        ("burst.servers.detco.slowest", 31.0, "31.0 s"),
        ("memory.idle", 451_000_000, "451 MB"),
        ("memory.settled_over_idle", 1.2, "1.20 times"),
        ("memory.late_over_early", 1.06, "1.060"),
        ("swaps.failed", {"503": 1}, "1 x 503"),
        ("swaps.of_no_version", 1, "those of no version"),
        ("swaps.by_version", {"1": 200}, "one version"),
    ],
)
def test_what_is_promised_and_missed_is_named(path: str, value: Any, word: str) -> None:
    found = figures()
    *way, last = path.split(".")
    place = found
    for step in way:
        place = place[step]
    place[last] = value
    (line,) = missed(kept(found))
    assert line.startswith(f"{way[0] if way else last}:")
    assert word in line
