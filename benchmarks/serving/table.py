"""The figures as text, each with where it was measured, and what of them is promised and missed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

CPU_RATIO = 1.10
HANG_UP_RATIO = 2.0
IDLE_BYTES = 450_000_000
SETTLED_RATIO = 1.10
GROWTH_RATIO = 1.05
"""Over thousands of requests of mixed sizes: what a heap's own breathing is below."""

_HEADINGS: Mapping[str, str] = {
    "cost": f"CPU of an image over the bare runtime's (promised: at most {CPU_RATIO:.2f}) and images a second",
    "hang_ups": f"The next request after callers hung up, over one that is alone (promised: at most {HANG_UP_RATIO:g})",
    "corrupt": "Good requests that fail beside damaged ones (promised: none)",
    "burst": "A burst (promised: answered in time, or 429 with Retry-After)",
    "memory": f"Memory (promised: idle {IDLE_BYTES / 1e6:.0f} MB, back within {SETTLED_RATIO}, growth {GROWTH_RATIO})",
    "swaps": "Promotions under load (promised: no error, each answer from one version)",
    "wires": "The way to the server: the same picture over HTTP and over gRPC (nothing is promised)",
}


def told(results: Mapping[str, Any]) -> str:
    """Markdown of all figures there are."""
    lines = ["# Feature serving", ""]
    lines += [
        "One ResNet-50 on the CPU, JPEG in, `res5` as octets out; the peers answer with the bare runtime's own code. "
        "Servers, floor and the process that drives the load share the cores. Every ratio is the median of those of "
        "rounds in which all took turns.",
        "",
    ]
    missing = missed(results)
    lines += ["Missed:", "", *(f"- {line}" for line in missed(results))] if missing else ["No promise is missed."]
    for name, kept in results.items():
        lines += ["", f"## {_HEADINGS[name]}", "", _where(kept), "", *_TABLES[name](kept["found"])]
    return "\n".join(lines)


def missed(results: Mapping[str, Any]) -> list[str]:
    """What is not kept, in words."""
    return [f"{name}: {line}" for name, kept in results.items() for line in _MISSED[name](kept["found"])]


def _where(kept: Mapping[str, Any]) -> str:
    facts, spin_us = kept["measured_with"], kept.get("spin_us", 0)
    spinning = f", our server with DETCO_SERVE_SPIN_US={spin_us}" if spin_us else ""
    return (
        f"{facts['time']} at {facts['commit']}, profile `{kept['profile']}`{spinning}, on {facts['cpu']} "
        f"({facts['cores']} cores, load {facts['load']:.1f} when it began), Python {facts['python']}, "
        f"onnxruntime {facts['onnxruntime-gpu']}, "
        f"FastAPI {facts['fastapi']}, uvicorn {facts['uvicorn']}; {kept['peers']}."
    )


def _cost(found: Mapping[str, Any]) -> list[str]:
    names = next(iter(found["callers"].values()))
    lines = _head("callers: CPU ms (over the floor); images/s (ours over it)", *names)
    for callers, by_name in found["callers"].items():
        cells = [
            f"{one['cpu_ms']:.1f} ({one['cpu_ratio']:.2f}); {one['per_second']:.1f} ({one['ours_over_it']:.2f})"
            for one in by_name.values()
        ]
        lines.append(_row(callers, *cells))
    return [*lines, *(f"\n{name} is missing: {why}" for name, why in found["peers_missing"].items())]


def _cost_missed(found: Mapping[str, Any]) -> Iterator[str]:
    for callers, by_name in found["callers"].items():
        if (ratio := by_name["detco"]["cpu_ratio"]) > CPU_RATIO:
            yield f"{ratio:.2f} times the floor's CPU at {callers} callers"
        for name, one in by_name.items():
            if name not in ("floor", "detco") and one["ours_over_it"] < 1:
                yield f"{one['ours_over_it']:.2f} times the images a second of {name} at {callers} callers"


def _hang_ups(found: Mapping[str, Any]) -> list[str]:
    lines = _head(f"after {found['hang_ups']} hung up", "seconds", "over alone")
    return lines + [_row(n, f"{s['next_seconds']:.2f}", f"{s['ratio']:.1f}") for n, s in found["servers"].items()]


def _hang_ups_missed(found: Mapping[str, Any]) -> Iterator[str]:
    if (ratio := found["servers"]["detco"]["ratio"]) > HANG_UP_RATIO:
        yield f"the next request takes {ratio:.1f} times as long as alone"


def _corrupt(found: Mapping[str, Any]) -> list[str]:
    lines = _head("", "good ones failed", "damaged ones were told")
    return lines + [
        _row(name, f"{one['good_failed']} of {one['good']}", _counts(one["damaged_told"]))
        for name, one in found["servers"].items()
    ]


def _corrupt_missed(found: Mapping[str, Any]) -> Iterator[str]:
    one = found["servers"]["detco"]
    if one["good_failed"]:
        yield f"{one['good_failed']} of {one['good']} good requests failed"
    for status, count in one["damaged_told"].items():
        if not 400 <= int(status) < 500:
            yield f"{count} damaged pictures were answered {status}"


def _burst(found: Mapping[str, Any]) -> list[str]:
    lines = _head(f"of {found['burst']} at once", "answered", "slowest, s", "429", "without a time", "otherwise")
    return lines + [
        _row(
            name,
            str(one["accepted"]),
            f"{one['slowest']:.1f}",
            str(one["refused"]),
            str(one["refused_without_a_time"]),
            _counts(one["otherwise"]),
        )
        for name, one in found["servers"].items()
    ]


def _burst_missed(found: Mapping[str, Any]) -> Iterator[str]:
    one = found["servers"]["detco"]
    if one["otherwise"]:
        yield f"answers other than 200 and 429: {_counts(one['otherwise'])}"
    if one["refused_without_a_time"]:
        yield f"{one['refused_without_a_time']} refusals name no time to come back"
    if one["slowest"] > found["deadline"]:
        yield f"an answer took {one['slowest']:.1f} s, the deadline is {found['deadline']:g} s"


def _memory(found: Mapping[str, Any]) -> list[str]:
    return [
        *_head("", "MB", "ratio"),
        _row("idle", f"{found['idle'] / 1e6:.0f}", "1"),
        _row("right after the burst of large ones", f"{found['after_the_burst'] / 1e6:.0f}", ""),
        _row("settled after it", f"{found['settled'] / 1e6:.0f}", f"{found['settled_over_idle']:.2f}"),
        _row(
            f"last quarter of {found['mixed_requests']} mixed ones over the second tenth to the half",
            f"{found['mixed_samples'][-1] / 1e6:.0f}",
            f"{found['late_over_early']:.3f}",
        ),
    ]


def _memory_missed(found: Mapping[str, Any]) -> Iterator[str]:
    if found["idle"] > IDLE_BYTES:
        yield f"idle it holds {found['idle'] / 1e6:.0f} MB"
    if found["settled_over_idle"] > SETTLED_RATIO:
        yield f"after the burst it keeps {found['settled_over_idle']:.2f} times what it held"
    if found["late_over_early"] > GROWTH_RATIO:
        yield f"over {found['mixed_requests']} requests it grows by {found['late_over_early']:.3f}"


def _swaps(found: Mapping[str, Any]) -> list[str]:
    return [
        *_head("promotions", "seconds each", "answers", "failed", "of no version", "slowest, s"),
        _row(
            str(found["swaps"]),
            f"{found['swap_seconds']:.2f}",
            f"{found['answers']} ({_counts(found['by_version'])})",
            _counts(found["failed"]),
            str(found["of_no_version"]),
            f"{found['slowest']:.2f}",
        ),
    ]


def _swaps_missed(found: Mapping[str, Any]) -> Iterator[str]:
    if found["failed"]:
        yield f"failed: {_counts(found['failed'])}"
    if found["of_no_version"]:
        yield f"{found['of_no_version']} answers are those of no version"
    if len(found["by_version"]) < 2:
        yield "only one version was seen"


def _wires(found: Mapping[str, Any]) -> list[str]:
    names = next(iter(found["callers"].values()))
    lines = _head("callers: CPU ms (over /features); ms until the answer (over it); images/s", *names)
    for callers, by_name in found["callers"].items():
        cells = [
            f"{one['cpu_ms']:.1f} ({one['cpu_ratio']:.2f}); {one['latency_ms']:.1f} ({one['latency_ratio']:.2f}); "
            f"{one['per_second']:.1f}"
            for one in by_name.values()
        ]
        lines.append(_row(callers, *cells))
    return [*lines, f"\ngrpcio {found['grpcio']}; `detco` is `/features`."]


_TABLES: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "cost": _cost,
    "hang_ups": _hang_ups,
    "corrupt": _corrupt,
    "burst": _burst,
    "memory": _memory,
    "swaps": _swaps,
    "wires": _wires,
}
_MISSED: Mapping[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "cost": _cost_missed,
    "hang_ups": _hang_ups_missed,
    "corrupt": _corrupt_missed,
    "burst": _burst_missed,
    "memory": _memory_missed,
    "swaps": _swaps_missed,
    "wires": lambda found: iter(()),
}


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} x {what}" for what, count in sorted(counts.items())) or "none"


def _head(*cells: str) -> list[str]:
    return [_row(*cells), _row("---", *("---:" for _ in cells[1:]))]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


FIGURES: Sequence[str] = tuple(_TABLES)
