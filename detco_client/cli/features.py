"""`detco features`: dense features of pictures, to a NumPy file."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from detco_client.cli.output import Json, console, show_json, table
from detco_client.cli.session import connect
from detco_client.features import FeaturesReply


def features(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="JPEG, PNG, WebP or TIFF files.")],
    model: Annotated[str | None, typer.Option(help="NAME, NAME@ALIAS or NAME:VERSION.")] = None,
    levels: Annotated[
        str | None, typer.Option(help="Comma-separated levels, e.g. res3,res5; res5, or the last, when not given.")
    ] = None,
    pool: Annotated[str, typer.Option(help="none (maps), avg or gem (one vector).")] = "none",
    gem_p: Annotated[float | None, typer.Option(help="Power of gem; 3 when not given.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, float16 or int8.")] = "float32",
    normalize: Annotated[str, typer.Option(help="none or l2.")] = "none",
    compressed: Annotated[
        bool, typer.Option("--compressed", help="Have the answer travel in Zstandard: for slow lines.")
    ] = False,
    bulk: Annotated[bool, typer.Option("--bulk", help="Work that can wait: others go first.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The .npz file to write.")] = None,
    as_json: Json = False,
) -> None:
    """Ask the service for the features of pictures.

    The file holds one array by level; with several pictures they are named INDEX/LEVEL, in the order given.
    An int8 array stands for itself times LEVEL.scale.
    """
    asked: dict[str, Any] = {"model": model, "pool": pool, "gem_p": gem_p, "dtype": dtype, "normalize": normalize}
    asked |= {"priority": "bulk"} if bulk else {}
    with connect() as client:
        reply = client.features(images, levels=levels.split(",") if levels else None, compressed=compressed, **asked)
    if output:
        _save(reply, output)
    if as_json:
        show_json(reply.meta)
    else:
        _show(reply, images, output)
    if any(image.error for image in reply.images):
        raise typer.Exit(1)


def _save(reply: FeaturesReply, output: Path) -> None:
    single = len(reply.images) == 1
    arrays: dict[str, Any] = {}
    for index, image in enumerate(reply.images):
        before = "" if single else f"{index}/"
        arrays |= {f"{before}{level}": array for level, array in image.levels.items()}
        arrays |= {f"{before}{level}.scale": scale for level, scale in image.scales.items()}
    # Through an open file, or NumPy would append a suffix of its own.
    with output.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _show(reply: FeaturesReply, images: list[Path], output: Path | None) -> None:
    rows: list[list[object]] = []
    for path, image in zip(images, reply.images, strict=True):
        if image.error:
            rows.append([path.name, "", "", f"error: {image.error.get('detail', image.error)}"])
        for level, array in image.levels.items():
            rows.append([path.name, level, image.strides.get(level), f"{list(array.shape)} {array.dtype}"])
    console().print(table("", ["IMAGE", "LEVEL", "STRIDE", "ARRAY"], rows))
    model = f"{reply.meta.get('model')}:{reply.meta.get('version')}"
    console().print(f"model {model}" + (f", written to {output}" if output else ""), markup=False)
