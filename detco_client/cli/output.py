"""What the command prints: tables for people, JSON for programs, one line for what went wrong."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from detco_client.errors import ApiError, ClientError

STATE_COLORS = {
    "completed": "green",
    "ready": "green",
    "running": "cyan",
    "failed": "red",
    "cancelled": "yellow",
    "paused": "yellow",
}
PIPE_WIDTH = 200
"""Columns of a table that does not go to a terminal."""

Json = Annotated[bool, typer.Option("--json", help="Print the API's JSON instead of a table.")]


def console() -> Console:
    """Standard output, made at each use so that a redirected one is seen."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def show_json(document: object) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table of plain values; the first column is what other verbs take as an argument."""
    found = Table(title=title or None, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        found.add_column(column, no_wrap=column == columns[0])
    for row in rows:
        found.add_row(*(text(value) for value in row))
    return found


def show_list(
    items: Iterable[Any], columns: Mapping[str, Any], as_json: bool, empty: str = "there are none yet"
) -> None:
    """Print a list; `columns` maps a heading to the function that gives its cell."""
    found = list(items)
    if as_json:
        show_json(found)
    elif not found:
        console().print(empty)
    else:
        rows = [[cell(item) for cell in columns.values()] for item in found]
        console().print(table("", list(columns), rows))


def show_state(job: Any, *, as_json: bool) -> None:
    """Print which job it is, and how it is."""
    if as_json:
        show_json(job)
    else:
        console().print(f"{job['id']}  {job['state']}")


def show_fields(fields: Mapping[str, object], title: str = "") -> None:
    """Print one thing as a column of names and a column of values; what is empty is left out."""
    grid = Table(title=title or None, title_justify="left", box=None, show_header=False, pad_edge=False)
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in fields.items():
        if value not in (None, "", [], {}):
            grid.add_row(name, text(value))
    console().print(grid)


def text(value: object) -> str:
    """A cell: states in color, numbers short, everything else as it is."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str) and value in STATE_COLORS:
        return f"[{STATE_COLORS[value]}]{value}[/]"
    if isinstance(value, (list, tuple)):
        return escape(", ".join(map(str, value)))
    return escape(str(value))


def age(moment: str | None) -> str:
    """How long ago an ISO 8601 time was, in its largest unit."""
    try:
        then = datetime.fromisoformat((moment or "").replace("Z", "+00:00"))
    except ValueError:
        return ""
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return duration((datetime.now(UTC) - then).total_seconds())


def duration(seconds: float | None) -> str:
    """`45 s`, `12 min`, `3.2 h`, `4 d`."""
    if seconds is None:
        return ""
    for unit, size, digits in (("d", 86400, 0), ("h", 3600, 1), ("min", 60, 0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{max(0, seconds):.0f} s"


def size(count: int | None) -> str:
    """`831 B`, `44.8 MB`: decimal units."""
    number, units = float(count or 0), ["B", "kB", "MB", "GB", "TB"]
    while number >= 1000 and len(units) > 1:
        number, units = number / 1000, units[1:]
    return f"{number:.0f} B" if units[0] == "B" else f"{number:.1f} {units[0]}"


def complain(error: Exception) -> None:
    """One line on standard error that names the thing, one for each further fault, and the remedy."""
    lines = [f"error: {error}"]
    if isinstance(error, ApiError):
        # The faults are often the detail already; say nothing twice.
        lines += [f"  {p.path}: {p.detail}" for p in error.errors if p.detail not in error.detail]
    if isinstance(error, ClientError) and error.remedy:
        lines.append(f"  remedy: {error.remedy}")
    if isinstance(error, ApiError) and error.status >= 500 and error.request_id:
        lines.append(f"  request id: {error.request_id}")
    print("\n".join(lines), file=sys.stderr)
