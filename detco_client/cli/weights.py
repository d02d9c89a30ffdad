"""`detco weights`: bring in what was trained elsewhere."""

from pathlib import Path
from typing import Annotated, Any

import typer

from detco_client.cli.output import Json, age, show_fields, show_json, show_list
from detco_client.cli.removal import DryRun, show_removal
from detco_client.cli.session import connect
from detco_client.resources.sources import Weights

app = typer.Typer(help="Weights trained elsewhere, as a source of runs, evaluations and models.", no_args_is_help=True)
WeightsId = Annotated[str, typer.Argument(metavar="WEIGHTS", help="Their id, or name.")]
_SHOWN_KEYS = 5


@app.command()
def add(
    uri: Annotated[str, typer.Argument(help="A file on the service's machine.")],
    architecture: Annotated[str, typer.Option(help="What it must hold: resnet50, ..., or timm/NAME.")],
    name: Annotated[str | None, typer.Option(help="What to call them.")] = None,
    format: Annotated[str | None, typer.Option(help="detco, moco, ...; recognised when left out.")] = None,
    channels: Annotated[int | None, typer.Option(help="Of the images they take, when not 3.")] = None,
    license: Annotated[str | None, typer.Option(help="The weights' license, for the record.")] = None,
    strict: Annotated[bool, typer.Option(help="Refuse a file that lacks keys.")] = True,
    wait: Annotated[bool, typer.Option(help="Wait until they are checked.")] = True,
    as_json: Json = False,
) -> None:
    """Bring in a file; it is loaded as plain tensors only and held against the architecture."""
    place = uri if "://" in uri or uri.startswith("upload:") else str(Path(uri).expanduser().absolute())
    with connect() as client:
        weights = client.weights.add(
            place, architecture, name=name, format=format, channels=channels, license=license, strict=strict
        )
        if wait:
            weights = client.weights.wait(weights["id"])
    _show(weights, as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All weights that were brought in."""
    columns = {
        "WEIGHTS": lambda w: w["id"],
        "NAME": lambda w: w["name"],
        "ARCHITECTURE": lambda w: w["architecture"],
        "FORMAT": lambda w: w["format"],
        "STATE": lambda w: w["state"],
        "DIGEST": lambda w: (w["digest"] or "")[:19],
        "AGE": lambda w: age(w["created_at"]),
    }
    with connect() as client:
        show_list(client.weights.list(), columns, as_json, "none yet: `detco weights add FILE --architecture resnet50`")


@app.command()
def show(weights: WeightsId, as_json: Json = False) -> None:
    """What the check of weights found: keys matched, missing and left over."""
    with connect() as client:
        _show(client.weights.get(weights), as_json)


@app.command()
def delete(
    weights: WeightsId,
    dry_run: DryRun = False,
) -> None:
    """Delete weights that no job needs any more; what was made from them stays."""
    with connect() as client:
        show_removal(client.weights.delete(weights, dry_run=dry_run), dry_run=dry_run)


def _show(weights: Weights, as_json: bool) -> None:
    if as_json:
        show_json(weights)
        return
    report: Any = weights["report"] or {}
    fields = {
        "weights": weights["id"],
        "name": weights["name"],
        "state": weights["state"],
        "reason": weights["reason"],
        "architecture": weights["architecture"],
        "format": weights["format"],
        "digest": weights["digest"],
        "license": weights["license"],
        "file": weights["uri"],
        **{f"{kind} keys": _keys(report[kind]) for kind in ("matched", "missing", "unexpected") if kind in report},
    }
    show_fields(fields)


def _keys(names: list[str]) -> str:
    """`3: a, b, c`, the beginning of a long list."""
    more = ", ..." if len(names) > _SHOWN_KEYS else ""
    return f"{len(names)}: {', '.join(names[:_SHOWN_KEYS])}{more}" if names else "0"
