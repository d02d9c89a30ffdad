"""Shows a run while it works: a bar with speed and time left, the losses, its warnings, what it waits for."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from detco_client.cli.output import STATE_COLORS, age, duration, text
from detco_client.client import DetcoClient
from detco_client.errors import JobFailed
from detco_client.resources.runs import Run

STAGES = ("res2", "res3", "res4", "res5")
TERMS = ("g2g", "l2l", "l2g")
LINE_SECONDS = 10.0
"""Seconds between two lines where there is no terminal to draw on."""


def watch_run(client: DetcoClient, run: str, console: Console, on_change: Callable[[Run], None] | None = None) -> Run:
    """Draw the run until it ends, is paused or fails; returns it as it was last. `on_change` sees what is drawn."""
    view = _Screen(console) if console.is_terminal else _Lines(console)

    def see(found: Run) -> None:
        view.update(found)
        if on_change:
            on_change(found)

    with view:
        try:
            return client.runs.wait(run, on_change=see)
        except JobFailed:
            return client.runs.get(run)


class _Screen:
    """Draws the run in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=4)

    def __enter__(self) -> None:
        self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, run: Run) -> None:
        self._live.update(panel(run))


class _Lines:
    """Prints a line at each change of state, each new warning, and now and then between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ("", 0.0)
        self._warned: set[tuple[str, str]] = set()

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, *_: object) -> None:
        """Nothing to undo."""

    def update(self, run: Run) -> None:
        self._warn(run)
        state, printed_at = self._last
        if run["state"] == state and time.monotonic() - printed_at < LINE_SECONDS:
            return
        self._last = (run["state"], time.monotonic())
        words = [run["state"], progress_text(run), waiting_text(run)]
        self._console.print("  ".join(word for word in words if word), markup=False)

    def _warn(self, run: Run) -> None:
        for warning in reversed(run.get("warnings") or []):
            key = (warning["code"], warning["time"])
            if key not in self._warned:
                self._warned.add(key)
                self._console.print(warning_text(warning), style="yellow", markup=False)


def panel(run: Run) -> RenderableType:
    """Everything about a run at work, as it is drawn."""
    head = Text.assemble(
        (run.get("name") or run["id"], "bold"), "  ", (run["state"], STATE_COLORS.get(run["state"], "white"))
    )
    parts: list[RenderableType] = [head]
    if waiting := waiting_text(run):
        parts.append(Text(waiting, "yellow"))
    if progress := run.get("progress"):
        grid = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=max(1, progress["steps"]), completed=progress["step"], width=36)
        grid.add_row(bar, progress_text(run))
        parts.append(grid)
    if table := losses(run.get("metrics") or {}):
        parts.append(table)
    parts += [Text(warning_text(warning), "yellow") for warning in run.get("warnings") or []]
    return Group(*parts)


def progress_text(run: Mapping[str, Any]) -> str:
    """`step 40/120  epoch 10.0  21.3 img/s  2 min left  loss 23.1`."""
    progress = run.get("progress")
    if not progress:
        return ""
    words = [f"step {progress['step']}/{progress['steps']}"]
    if progress.get("epoch"):
        words.append(f"epoch {progress['epoch']:.1f}")
    if progress.get("images_per_second"):
        words.append(f"{progress['images_per_second']:.1f} img/s")
    if run["state"] == "running" and progress.get("eta_seconds") is not None:
        words.append(f"{duration(progress['eta_seconds'])} left")
    if (progress.get("data_wait") or 0) >= 0.1:
        words.append(f"{progress['data_wait']:.0%} waiting for data")
    if "loss" in (run.get("metrics") or {}):
        words.append(f"loss {run['metrics']['loss']:.2f}")
    return "  ".join(words)


def waiting_text(run: Mapping[str, Any]) -> str:
    """Why a run is not working, where the service says so."""
    words = []
    if run.get("waiting_reason"):
        words.append(f"waiting: {run.get('waiting_detail') or str(run['waiting_reason']).replace('_', ' ')}")
    if run.get("queue_position"):
        words.append(f"number {run['queue_position']} in the queue")
    if run["state"] == "failed" and run.get("reason"):
        words.append(str(run["reason"]))
    return ", ".join(words)


def warning_text(warning: Mapping[str, Any]) -> str:
    """`warning  collapse: the embeddings of res5 ...  (3 times, the last 2 min ago)`."""
    said = f"{warning['count']} times, the last " if warning["count"] > 1 else ""
    return f"warning  {warning['code']}: {warning['message']}  ({said}{age(warning['time'])} ago)"


def losses(metrics: Mapping[str, float]) -> Table | None:
    """The newest losses, a row for each term and a column for each stage; None before there are any."""
    terms = [term for term in TERMS if any(f"loss/{term}/{stage}" in metrics for stage in STAGES)]
    if not terms:
        return None
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("loss")
    for stage in STAGES:
        table.add_column(stage, justify="right")
    for term in terms:
        table.add_row(term, *(text(metrics.get(f"loss/{term}/{stage}")) for stage in STAGES))
    return table
