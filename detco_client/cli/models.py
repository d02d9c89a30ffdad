"""`detco models`: export, promote, pin and fetch backbones."""

from pathlib import Path
from typing import Annotated, Any

import typer

from detco_client.cli.output import Json, age, console, show_fields, show_json, show_list, size
from detco_client.cli.session import connect
from detco_client.cli.values import one_of, pairs

app = typer.Typer(help="Exported backbones, their versions and aliases.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]
Version = Annotated[int, typer.Argument(min=1, help="The version's number.")]


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="The model's name; made on first use.")],
    run: Annotated[str | None, typer.Option(help="The run to export from.")] = None,
    checkpoint: Annotated[str, typer.Option(help="Of the run: last, best or a checkpoint's id.")] = "last",
    weights: Annotated[str | None, typer.Option(help="Imported weights to export, by id or name.")] = None,
    format: Annotated[
        list[str] | None, typer.Option(help="onnx and those wanted beside it; repeat for several. All when left out.")
    ] = None,
    license: Annotated[str | None, typer.Option(help="Of the weights, for the manifest.")] = None,
    pixels: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="KEY=VALUE",
            help="How images are prepared: short_side=800, max_side=1333; of weights mean=[0.5], std=[0.25].",
        ),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until its files are made and checked.")] = True,
    as_json: Json = False,
) -> None:
    """Make the next version of a model from a checkpoint, or from imported weights."""
    one_of(run=run, weights=weights)
    source = {"run": run, "checkpoint": checkpoint} if run else {"weights": weights}
    more = {"license": license, "formats": format, "input": pairs(pixels or [], "--input")}
    with connect() as client:
        version = client.models.export(model, source, **{field: value for field, value in more.items() if value})
        if wait:
            version = client.models.wait(model, version["version"])
    _show(model, version, as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Every model and where its aliases point."""
    columns = {
        "MODEL": lambda m: m["name"],
        "ALIASES": lambda m: ", ".join(f"{alias} -> {version}" for alias, version in sorted(m["aliases"].items())),
        "AGE": lambda m: age(m["created_at"]),
    }
    with connect() as client:
        show_list(client.models.list(), columns, as_json, "no model yet: `detco models export NAME --run RUN`")


@app.command()
def versions(model: Name, as_json: Json = False) -> None:
    """Every version of a model."""
    columns = {
        "VERSION": lambda v: v["version"],
        "STATE": lambda v: v["state"],
        "ARCHITECTURE": lambda v: (v.get("manifest") or {}).get("architecture"),
        "RUN": lambda v: (v.get("lineage") or {}).get("run"),
        "WEIGHTS": lambda v: (v["weights_digest"] or "")[:19],
        "ALIASES": lambda v: v["aliases"],
        "AGE": lambda v: age(v["created_at"]),
    }
    with connect() as client:
        show_list(client.models.versions(model), columns, as_json)


@app.command()
def show(model: Name, version: Version, as_json: Json = False) -> None:
    """One version: files, levels, how far its files are from torch, where it comes from."""
    with connect() as client:
        _show(model, client.models.version(model, version), as_json)


@app.command()
def promote(
    model: Name,
    version: Version,
    alias: Annotated[str, typer.Option(help="The alias to move.")] = "production",
    as_json: Json = False,
) -> None:
    """Point an alias at a version; back is the same call with the old one."""
    with connect() as client:
        moved = client.models.promote(model, version, alias)
    if as_json:
        show_json(moved)
    else:
        console().print(f"{model}@{alias} -> version {version}, loaded and warm")


@app.command()
def pin(
    model: Name,
    version: Version,
    consumer: Annotated[str, typer.Argument(help="Who needs it.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take the pin away.")] = False,
) -> None:
    """Keep a version warm and undeletable."""
    with connect() as client:
        (client.models.unpin if remove else client.models.pin)(model, version, consumer)
    console().print(f"{model}:{version} {'is free of' if remove else 'is pinned for'} {consumer}", markup=False)


@app.command()
def download(
    model: Name,
    version: Version,
    format: Annotated[
        str, typer.Option(help="onnx, torchvision, timm, detectron2, mmdetection, advice, manifest, ...")
    ] = "onnx",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file to write.")] = None,
) -> None:
    """Fetch a file of a version; goes on where an earlier try broke off, and checks the digest."""
    with connect() as client:
        console().print(str(client.models.download(model, version, format, output)), markup=False)


def _show(model: str, version: Any, as_json: bool) -> None:
    if as_json:
        show_json(version)
        return
    manifest, lineage = version.get("manifest") or {}, version.get("lineage") or {}
    parity = {name: f"{p['relative_error']:.1e}" for name, p in (version.get("parity") or {}).items()}
    fields = {
        "version": f"{model}:{version['version']}",
        "state": version["state"],
        "reason": version.get("reason"),
        "architecture": manifest.get("architecture"),
        "weights": version["weights_digest"],
        "levels": [f"{level['name']} /{level['stride']}" for level in manifest.get("levels", [])],
        "files": [f"{name} {size(file['bytes'])}" for name, file in (version["files"] or {}).items()],
        "off torch by": ", ".join(f"{name} {error}" for name, error in parity.items()),
        "left out": [f"{name}: {why}" for name, why in manifest.get("left_out", {}).items()],
        "run": lineage.get("run"),
        "weights of": lineage.get("weights"),
        "license": version.get("license"),
        "licences of": [f"{what}: {name or 'none said'}" for what, name in (lineage.get("licenses") or {}).items()],
    }
    show_fields(fields)
