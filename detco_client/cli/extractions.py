"""`detco extractions`: the features of whole data sets."""

from pathlib import Path
from typing import Annotated, Any

import typer

from detco_client.cli.output import Json, age, console, show_fields, show_json, show_list, size
from detco_client.cli.removal import DryRun, show_removal
from detco_client.cli.session import connect
from detco_client.cli.values import pairs

app = typer.Typer(help="Features of whole data sets, as files.", no_args_is_help=True)
_NAMED = 10
"""Broken images that are shown."""
Id = Annotated[str, typer.Argument(metavar="EXTRACTION")]


@app.command()
def submit(
    model: Annotated[str, typer.Argument(help="NAME, NAME@ALIAS or NAME:VERSION.")],
    dataset: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")],
    levels: Annotated[str | None, typer.Option(help="Between commas, e.g. res4,res5.")] = None,
    pool: Annotated[str | None, typer.Option(help="avg or gem for one vector an image and level.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, float16 or int8.")] = None,
    split: Annotated[str | None, typer.Option(help="Images of this split alone.")] = None,
    boxes: Annotated[str | None, typer.Option(help="Features under each box of a JSON file, or upload:ID.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="safetensors, or parquet for vectors.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Any other, e.g. normalize=l2 or shard_images=512.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is completed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it will take; queue nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Queue an extraction."""
    asked: dict[str, Any] = {"pool": pool, "dtype": dtype, "split": split, "boxes_from": boxes, "format": form}
    asked |= {"levels": levels.split(",") if levels else None, **pairs(option or [], "--option")}
    wanted = {name: value for name, value in asked.items() if value is not None}
    with connect() as client:
        if dry_run:
            show_json(client.extractions.plan(model, dataset, **wanted))
            return
        found = client.extractions.submit(model, dataset, **wanted)
        if wait:
            found = client.extractions.wait(found["id"])
    _show(found, as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Every extraction, newest first."""
    columns = {
        "EXTRACTION": lambda e: e["id"],
        "MODEL": lambda e: e["model"],
        "DATASET": lambda e: e["dataset"],
        "STATE": lambda e: e["state"],
        "DONE": lambda e: _done(e),
        "SIZE": lambda e: size((e["report"] or e["estimate"])["bytes"]),
        "AGE": lambda e: age(e["created_at"]),
    }
    with connect() as client:
        show_list(client.extractions.list(), columns, as_json)


@app.command()
def show(extraction: Id, as_json: Json = False) -> None:
    """One extraction: how far it is, and its report."""
    with connect() as client:
        _show(client.extractions.get(extraction), as_json)


@app.command()
def cancel(extraction: Id, as_json: Json = False) -> None:
    """Stop it; the shards that are finished stay until it is deleted."""
    with connect() as client:
        _show(client.extractions.cancel(extraction), as_json)


@app.command()
def pause(extraction: Id, as_json: Json = False) -> None:
    """Give the machine back; `resume` goes on behind the last finished shard."""
    with connect() as client:
        _show(client.extractions.pause(extraction), as_json)


@app.command()
def resume(extraction: Id, as_json: Json = False) -> None:
    """Queue a paused one again."""
    with connect() as client:
        _show(client.extractions.resume(extraction), as_json)


@app.command()
def download(
    extraction: Id,
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder.")],
) -> None:
    """Fetch its files, each checked; again to go on, or for the shards that are finished since."""
    with connect() as client:
        client.extractions.download(extraction, output)
    console().print(str(output), markup=False)


@app.command()
def delete(extraction: Id, dry_run: DryRun = False) -> None:
    """Delete one that has ended, with its files."""
    with connect() as client:
        show_removal(client.extractions.delete(extraction, dry_run=dry_run), dry_run=dry_run)


def _done(extraction: Any) -> str:
    progress = extraction.get("progress") or {}
    return f"{progress['step']}/{progress['steps']}" if progress.get("steps") else ""


def _show(extraction: Any, as_json: bool) -> None:
    if as_json:
        show_json(extraction)
        return
    report, progress = extraction["report"] or {}, extraction.get("progress") or {}
    fields = {
        "extraction": extraction["id"],
        "state": extraction["state"],
        "reason": extraction.get("reason"),
        "waiting for": extraction.get("waiting_detail") or extraction.get("waiting_reason"),
        "model": extraction["model"],
        "data set": extraction.get("dataset"),
        "images": _done(extraction),
        "images/s": progress.get("images_per_second"),
        "broken": report.get("broken"),
        "shards": report.get("shards"),
        "bytes": size((report or extraction["estimate"])["bytes"]),
        "licences": ", ".join(f"{name}: {text or 'none named'}" for name, text in extraction["licenses"].items()),
    }
    show_fields(fields)
    for broken in report.get("broken_images", ())[:_NAMED]:
        console().print(f"broken  {broken['path']}: {broken['reason']}", style="yellow", markup=False)
    if (left := report.get("broken", 0) - _NAMED) > 0:
        console().print(f"broken  and {left} more: `detco extractions show {extraction['id']} --json`", style="yellow")
