"""`detco datasets`: register folders of images."""

from pathlib import Path
from typing import Annotated

import typer

from detco_client.cli.output import Json, age, console, show_fields, show_json, show_list, size, table
from detco_client.cli.session import connect
from detco_client.resources.sources import Dataset

app = typer.Typer(help="Register folders of images and see what is in them.", no_args_is_help=True)

Exclude = Annotated[list[str] | None, typer.Option(help="Pattern of relative paths to leave out; repeat it.")]
Wait = Annotated[bool, typer.Option(help="Wait until it is scanned.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    uri: Annotated[
        str, typer.Argument(help="A folder, list or shard on the service's machine, s3://BUCKET/PREFIX, or upload:ID")
    ],
    kind: Annotated[str, typer.Option(help="images (no labels) or labelled ({train,val}/CLASS/*).")] = "images",
    license: Annotated[str | None, typer.Option(help="The pictures' license, for the record.")] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER below the root, where the layout does not say it; repeat it.")
    ] = None,
    exclude: Exclude = None,
    wait: Wait = True,
    as_json: Json = False,
) -> None:
    """Register a folder; it is read in place and scanned once."""
    place = uri if "://" in uri or uri.startswith("upload:") else str(Path(uri).expanduser().absolute())
    with connect() as client:
        dataset = client.datasets.add(
            name, place, kind=kind, license=license, splits=_splits(split or []), exclude=tuple(exclude or ())
        )
        if wait:
            dataset = client.datasets.wait(name)
    _show(dataset, as_json)


@app.command()
def rescan(
    name: Annotated[str, typer.Argument()],
    exclude: Exclude = None,
    wait: Wait = True,
    as_json: Json = False,
) -> None:
    """Make a new version of what the place holds now; older versions stay as they are."""
    with connect() as client:
        client.datasets.rescan(name, tuple(exclude or ()))
        dataset = client.datasets.wait(name) if wait else client.datasets.get(name)
    _show(dataset, as_json)


@app.command()
def show(name: Annotated[str, typer.Argument()], as_json: Json = False) -> None:
    """What the scan of a data set found, with every broken file."""
    with connect() as client:
        _show(client.datasets.get(name), as_json)


@app.command()
def usage(name: Annotated[str, typer.Argument()], as_json: Json = False) -> None:
    """What uses a data set: runs, evaluations, models."""
    with connect() as client:
        found = client.datasets.usage(name)
    if as_json:
        show_json(found)
        return
    kinds = ("runs", "evaluations", "extractions")
    rows = [[kind[:-1], job["id"], job["state"], job["dataset"], job["name"]] for kind in kinds for job in found[kind]]
    rows += [["model", model["ref"], "ready", "", model["run"]] for model in found["models"]]
    console().print(table(f"{name}: {size(found['bytes'])} kept", ["WHAT", "ID", "STATE", "DATA SET", "NAME"], rows))


@app.command()
def delete(
    name: Annotated[str, typer.Argument(help="NAME, or NAME@VERSION for one version.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; delete nothing.")] = False,
) -> None:
    """Delete a data set with what was derived from it; the files themselves are never touched."""
    whole, _, version = name.partition("@")
    if version and not version.isdecimal():
        raise typer.BadParameter("give NAME or NAME@VERSION, e.g. photos@2")
    with connect() as client:
        done = client.datasets.delete(whole, int(version) if version else None, dry_run=dry_run)
    made = f"; made from it and kept: {', '.join(done['derived'])}" if done["derived"] else ""
    verb = "would be" if dry_run else "is"
    console().print(f"{done['id']} {verb} deleted, {size(done['bytes'])} freed{made}", markup=False)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Every data set."""
    with connect() as client:
        columns = {
            "NAME": lambda d: d["name"],
            "VERSION": lambda d: d["version"],
            "KIND": lambda d: d["kind"],
            "STATE": lambda d: d["state"],
            "IMAGES": lambda d: d["images"],
            "AGE": lambda d: age(d["created_at"]),
        }
        show_list(client.datasets.list(), columns, as_json, "no data set yet: `detco datasets add NAME FOLDER`")


def _show(dataset: Dataset, as_json: bool) -> None:
    if as_json:
        show_json(dataset)
        return
    fields = {
        "name": dataset["ref"],
        "state": dataset["state"],
        "reason": dataset["reason"],
        "kind": dataset["kind"],
        "place": dataset["root"],
        "images": dataset["images"],
        "bytes": None if dataset["bytes"] is None else size(dataset["bytes"]),
        "channels": _channels(dataset),
        "classes": len(dataset["labels"] or {}) or None,
        "digest": dataset["digest"],
    }
    show_fields(fields)
    for broken in dataset["broken"] or []:
        console().print(f"broken  {broken['path']}: {broken['reason']}", style="yellow", markup=False)


def _splits(given: list[str]) -> dict[str, str]:
    named = dict(one.partition("=")[::2] for one in given)
    if not all(name and folder for name, folder in named.items()):
        raise typer.BadParameter("give --split NAME=FOLDER, e.g. --split val=held-out")
    return named


def _channels(dataset: Dataset) -> list[str]:
    """`3 (40 images, mean 0.49 0.46 0.41, std 0.23 0.22 0.23)`, and the depth where it is not 8 bits."""
    found = []
    for count, pixels in (dataset.get("statistics") or {}).items():
        mean, std = (" ".join(f"{value:.2f}" for value in pixels[name]) for name in ("mean", "std"))
        depth = "" if pixels["bit_depth"] == 8 else f", {pixels['bit_depth']} bits"
        found.append(f"{count} ({pixels['images']} images, mean {mean}, std {std}{depth})")
    return found
