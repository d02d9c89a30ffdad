"""`detco config`: what every field of a run's config means, and what a preset sets it to."""

from typing import Annotated

import typer
from rich.table import Table

from detco_client.cli.output import Json, console, show_json
from detco_client.explain import Field, explain
from detco_core.contract.presets import PRESETS

app = typer.Typer(help="The config of a run.", no_args_is_help=True)


@app.callback()
def about() -> None:
    """The config of a run."""


@app.command("explain")
def explain_(
    preset: Annotated[str, typer.Argument(help=", ".join(PRESETS))],
    as_json: Json = False,
) -> None:
    """Every field of a preset: its key for overrides, its value, what it does."""
    if preset not in PRESETS:
        raise typer.BadParameter(f"{preset!r} is not one of {', '.join(PRESETS)}", param_hint="PRESET")
    fields = explain(preset)
    if as_json:
        show_json({field.key: {"value": field.value, "explanation": field.explanation} for field in fields})
        return
    doc = (PRESETS[preset].__doc__ or "").strip()
    console().print(f"[bold]{preset}[/]  {doc}\n")
    console().print(_table(fields))


def _table(fields: tuple[Field, ...]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("KEY", no_wrap=True)
    table.add_column("VALUE")
    table.add_column("MEANING", overflow="fold")
    section = ""
    for field in fields:
        head = field.key.rpartition(".")[0]
        if head != section:
            table.add_row()
        section = head
        value = "none" if field.value is None else str(field.value)
        table.add_row(field.key, f"[cyan]{value}[/]", field.explanation)
    return table
