"""What deleting has done, or would do, in one line."""

from typing import Annotated, Any

import typer

from detco_client.cli.output import console, size

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")]


def show_removal(done: Any, *, dry_run: bool) -> None:
    made = f"; made from it and kept: {', '.join(done['derived'])}" if done["derived"] else ""
    verb = "would be" if dry_run else "is"
    console().print(f"{done['id']} {verb} deleted, {size(done['bytes'])} freed{made}", markup=False)
