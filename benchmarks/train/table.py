"""The table of one plan, and the same as JSON."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.train.measure import METHOD, SIDES, Measured
from benchmarks.train.plan import Part
from detco_core.contract.reader import plain

_NAME, _CELL = 34, 21


def table(measured: Measured) -> str:
    """Parts down, method and bare passes across; every figure is the median of the rounds, the smallest in brackets."""
    lines = [_row(title(measured), measured.plan.preset, "bare passes", "ratio")]
    lines += [_times(part, {side: _part(measured, side, part) for side in SIDES}) for part in Part]
    lines.append(_times("step, input left out", {side: [r.step for r in measured.rounds[side]] for side in SIDES}))
    lines.append(_row("images a second, input left out", *(_pace(measured, side) for side in SIDES)))
    lines.append(_row("GFLOP an image", *(f"{gflop(measured, side):.1f}" for side in SIDES)))
    lines.append(_row("share of a matmul's FLOP/s", *(f"{share(measured, side):.0%}" for side in SIDES)))
    lines.append(_row("peak memory, MB", *(_megabytes(measured.peak[side]) for side in SIDES)))
    return "\n".join([heading(measured), *lines])


def heading(measured: Measured) -> str:
    """What the numbers are of, and what was left out."""
    plan, rounds = measured.plan, measured.rounds[METHOD]
    layout = "channels_last" if plan.config.device.channels_last else "contiguous"
    return (
        f"{plan.preset} on {plan.kind}, batch {plan.batch}, {plan.precision}, {layout}, threads {plan.threads}, "
        f"deterministic {'on' if plan.deterministic else 'off'}; rounds {len(rounds)}.\n"
        f"One step in {plan.log_every} tells the monitors (a run: one in 10). "
        f"A matmul reaches {measured.matmul / 1e9:,.0f} GFLOP/s.\n"
        "Input is CPU ms on one thread, from made-up 400x300 JPEGs; loading, start-up and checkpoints are left out."
    )


def title(measured: Measured) -> str:
    return f"{measured.unit} a step: median (min)"


def document(measured: Measured) -> dict[str, Any]:
    """Everything that was measured, each round by itself, and what the table derives from it."""
    derived = {
        side: {
            "images_per_second": median(paces(measured, side)),
            "gflop_per_image": gflop(measured, side),
            "share_of_matmul": share(measured, side),
        }
        for side in SIDES
    }
    return {**plain(measured), "derived": derived, "ratio_of_steps": ratio(measured)}


def ratio(measured: Measured) -> float:
    """Median step of the method over that of the bare passes."""
    method, bare = (median(r.step for r in measured.rounds[side]) for side in SIDES)
    return method / bare


def paces(measured: Measured, side: str) -> list[float]:
    """Images a second by the wall, of each round."""
    return [measured.plan.batch / r.wall for r in measured.rounds[side]]


def gflop(measured: Measured, side: str) -> float:
    """Of an image."""
    return measured.flops[side] / measured.plan.batch / 1e9


def share(measured: Measured, side: str) -> float:
    """FLOPs of a step over its time, as a share of a matmul's by the same clock."""
    return measured.flops[side] / (median(r.step for r in measured.rounds[side]) / 1000) / measured.matmul


def _part(measured: Measured, side: str, part: Part) -> list[float]:
    return [r.parts[part] for r in measured.rounds[side] if part in r.parts]


def _times(name: str, found: Mapping[str, list[float]]) -> str:
    method, bare = (found[side] for side in SIDES)
    return _row(name, _time(method), _time(bare), f"{median(method) / median(bare):.2f}" if method and bare else "")


def _time(values: Sequence[float]) -> str:
    return f"{median(values):.1f} ({min(values):.1f})" if values else ""


def _pace(measured: Measured, side: str) -> str:
    values = paces(measured, side)
    # The most is what the least time gives.
    return f"{median(values):.1f} ({max(values):.1f})"


def _megabytes(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 1e6:,.0f}"


def _row(name: str, *cells: str) -> str:
    return f"{name:{_NAME}}" + "".join(f"{cell:>{_CELL}}" for cell in cells).rstrip()
