"""`detco usage`: what jobs have taken."""

from datetime import datetime
from typing import Annotated

import typer

from detco_client.cli.output import Json, duration, show_list, size
from detco_client.cli.session import connect
from detco_client.usage import UsageBy

_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]


def usage(
    by: Annotated[UsageBy, typer.Option(help="Whose: token is who submitted a job.")] = "token",
    since: Annotated[
        datetime | None, typer.Option(formats=_FORMATS, help="From the beginning without it; local time.")
    ] = None,
    until: Annotated[datetime | None, typer.Option(formats=_FORMATS, help="Up to now without it; local time.")] = None,
    as_json: Json = False,
) -> None:
    """GPU time, CPU time and bytes of jobs, added up by token, label, group or kind."""
    columns = {
        by.upper(): lambda row: row["key"] or "(none)",
        "JOBS": lambda row: row["jobs"],
        "ATTEMPTS": lambda row: row["attempts"],
        "GPU TIME": lambda row: duration(row["gpu_seconds"]),
        "CPU TIME": lambda row: duration(row["cpu_seconds"]),
        "STORED": lambda row: size(row["bytes"]),
    }
    with connect() as client:
        show_list(client.usage(by, since, until), columns, as_json, "nothing was worked on in that time")
