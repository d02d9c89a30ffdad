"""What is kept and printed of a play: `results/chaos.json` as it is, `results/chaos.md` to be read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS

_SHOWN = 5
"""Faults of a check that are written out."""
_FOREWORD = """\
# Chaos

Short runs through the whole service, from POST to their last checkpoint, while wake-ups are dropped, tripled and held
back, and again and again one process (worker, pool process, runner, job, launcher, API, Redis, PostgreSQL) gets SIGKILL
or, now and then, an attempt is frozen (SIGSTOP) until it has lost its lease. Every process killed is started again by a
supervisor. The full play is 300 runs and a blow every second, on a machine that does nothing else; each section says
what it was. A sabotaged play has a guard of the service taken out, to see that its loss is found: it must not hold.

Most runs are stand-ins: a job of a few NumPy SGD steps that speaks the same protocol, started by the same worker and
runner; only `real runs` of them are DetCo itself, and those are hit again once they have saved again. Leases and polls
are shorter than the defaults (`settings`). The command stands in `benchmarks/README.md`.

"""
_FULL = 100
"""Runs from which on a play is the one of its variant; a smaller one is kept beside it."""


def section(variant: str, runs: int, sabotage: str | None = None) -> str:
    """The name a play is kept under."""
    small = f", {runs} runs" if runs < _FULL else ""
    return f"{variant}{small}" + (f", without {sabotage}" if sabotage else "")


def keep(name: str, result: Mapping[str, Any], folder: Path = RESULTS) -> None:
    """Put the result beside the others."""
    folder.mkdir(exist_ok=True)
    path = folder / "chaos.json"
    results = json.loads(path.read_text("utf-8")) if path.exists() else {}
    results[name] = result
    path.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    text = "\n".join([_FOREWORD + table(results), "", *(told(results[name], name) for name in sorted(results))])
    (folder / "chaos.md").write_text(text + "\n", "utf-8")


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a play."""
    lines = [
        "| play | runs | of them real | on two hosts | attempts | blows | checks |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in sorted(results):
        figures, faults = results[name]["figures"], results[name]["faults"]
        broken = [check for check, found in faults.items() if found]
        verdict = "**broken**: " + "; ".join(broken) if broken else f"all {len(faults)} hold"
        counts = [figures["runs"], figures["real runs"], figures.get("runs on two hosts", 0)]
        counts += [sum(figures["attempts"].values()), sum(figures["blows"].values())]
        lines.append(f"| {name} | " + " | ".join(map(str, counts)) + f" | {verdict} |")
    return "\n".join(lines)


def told(result: Mapping[str, Any], name: str | None = None) -> str:
    """One section."""
    plan, machine = result["plan"], result["machine"]
    lines = [
        f"## {name or result['variant']}",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load']:.1f} at the start, "
        f"commit {machine['commit']}, {machine['time']}; {plan['runs']} stand-in and {plan['real']} real runs, "
        f"a blow every {plan['interval']} s, seed {plan['seed']}.",
        "",
        "| check | |",
        "|---|---|",
    ]
    lines += [f"| {name} | {_verdict(faults)} |" for name, faults in result["faults"].items()]
    lines += ["", "| figure | |", "|---|---|"]
    lines += [f"| {name} | {_shown(value)} |" for name, value in result["figures"].items()]
    return "\n".join([*lines, ""])


def _verdict(faults: list[str]) -> str:
    if not faults:
        return "holds"
    more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return f"**{len(faults)} faults**: " + "; ".join(faults[:_SHOWN]) + more


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return "not counted" if value is None else str(value)
