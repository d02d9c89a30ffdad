"""`detco upload`: bring pictures or weights to a service that shares no disk with this machine."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from detco_client.cli.output import Json, console, show_json
from detco_client.cli.session import connect


def upload(
    path: Annotated[Path, typer.Argument(help="A folder of pictures, a tar or zip of them, or a file of weights.")],
    kind: Annotated[str | None, typer.Option(help="dataset, weights or bundle; told by what it is.")] = None,
    as_json: Json = False,
) -> None:
    """Send a file or folder, going on where an earlier try broke off; prints the `upload:ID` to name it by."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with connect() as client, Progress(*columns, disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("", total=None)
        sent = client.uploads.send(
            path.expanduser(), kind, lambda there, total: bar.update(task, completed=there, total=total)
        )
    if as_json:
        show_json(sent)
        return
    verb = "datasets add NAME" if sent["kind"] == "dataset" else "weights add"
    then = "" if sent["kind"] == "bundle" else f"  (then: detco {verb} {sent['uri']})"
    console().print(f"{sent['uri']}{then}", markup=False)
