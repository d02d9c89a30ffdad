"""What is kept and what is deleted: verbs of runs, evaluations and models, and `detco gc`."""

from typing import Annotated, Any

import typer

from detco_client.cli.output import Json, age, console, show_json, show_list, size
from detco_client.cli.removal import DryRun, show_removal
from detco_client.cli.session import connect

RunId = Annotated[str, typer.Argument(metavar="RUN")]
CheckpointId = Annotated[str, typer.Argument(metavar="CHECKPOINT", help="Its id, its step, or last.")]


def install(runs: typer.Typer, evaluations: typer.Typer, models: typer.Typer) -> None:
    """Add the verbs to their groups."""
    runs.command()(checkpoints)
    runs.command()(keep)
    runs.command()(pin)
    runs.command("delete")(delete_run)
    evaluations.command("delete")(delete_evaluation)
    models.command("delete")(delete_model)


def checkpoints(
    run: RunId,
    deleted: Annotated[bool, typer.Option("--deleted", help="Those that are deleted, too.")] = False,
    as_json: Json = False,
) -> None:
    """The checkpoints of a run, and why each is kept."""
    columns = {
        "CHECKPOINT": lambda c: c["id"],
        "STEP": lambda c: c["step"],
        "EPOCH": lambda c: f"{c['epoch']:.4g}",
        "SIZE": lambda c: size(c["bytes"]),
        "SCORE": lambda c: c["score"],
        "KEPT": lambda c: c["kept_because"] or (["goes"] if c["state"] == "stored" else [c["state"]]),
        "AGE": lambda c: age(c["created_at"]),
    }
    with connect() as client:
        show_list(client.runs.checkpoints(run, deleted=deleted), columns, as_json, "none yet")


def keep(
    run: RunId,
    best: Annotated[int | None, typer.Option(min=0, help="As many of the best by its monitor.")] = None,
    latest: Annotated[int | None, typer.Option(min=1, help="As many of the newest.")] = None,
    every_epochs: Annotated[float | None, typer.Option(min=0, help="The first of every so many epochs.")] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Say which checkpoints of a run are kept; what is left out is the service's setting."""
    with connect() as client:
        report = client.runs.keep(run, best=best, latest=latest, every_epochs=every_epochs, dry_run=dry_run)
    if as_json:
        show_json(report)
        return
    for one in report["kept"]:
        console().print(f"step {one['step']:>8}  {', '.join(one['kept_because'])}", markup=False)
    verb = "would go" if dry_run else "go"
    console().print(f"{len(report['deleted'])} checkpoints {verb}, {size(report['bytes'])}")


def pin(
    run: RunId,
    checkpoint: CheckpointId,
    remove: Annotated[bool, typer.Option("--remove", help="Take the pin away.")] = False,
) -> None:
    """Keep a checkpoint, and its run, whatever the policy says."""
    with connect() as client:
        chosen = client.runs.checkpoint(run, checkpoint)
        (client.runs.unpin if remove else client.runs.pin)(run, chosen["id"])
    console().print(f"{chosen['id']} (step {chosen['step']}) is {'free' if remove else 'pinned'}", markup=False)


def delete_run(run: RunId, dry_run: DryRun = False) -> None:
    """Delete a run that has ended, with its checkpoints; what was made from it stays."""
    with connect() as client:
        show_removal(client.runs.delete(run, dry_run=dry_run), dry_run=dry_run)


def delete_evaluation(
    evaluation: Annotated[str, typer.Argument(metavar="EVALUATION")], dry_run: DryRun = False
) -> None:
    """Delete an evaluation that has ended."""
    with connect() as client:
        show_removal(client.evaluations.delete(evaluation, dry_run=dry_run), dry_run=dry_run)


def delete_model(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    version: Annotated[int | None, typer.Argument(min=1, help="Only this version; else the whole model.")] = None,
    alias: Annotated[str | None, typer.Option(help="Take this alias away instead.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Delete a model, one version of it, or an alias; refused while aliases, pins or jobs need it."""
    with connect() as client:
        if alias is not None:
            if version is not None or dry_run:
                raise typer.BadParameter("--alias goes with neither a version nor --dry-run")
            client.models.remove_alias(model, alias)
            console().print(f"{model}@{alias} is taken away", markup=False)
        else:
            show_removal(client.models.delete(model, version, dry_run=dry_run), dry_run=dry_run)


def gc(dry_run: DryRun = False, as_json: Json = False) -> None:
    """Delete what is in the artifact store and in no table; says what is damaged there."""
    with connect() as client:
        swept, held = client.store.sweep(dry_run=dry_run), client.store.get()
    if as_json:
        show_json({"sweep": swept, "store": held})
        return
    verb = "would be" if dry_run else "are"
    console().print(f"{swept['count']} objects that no table knows {verb} deleted, {size(swept['bytes'])}")
    console().print(f"{held['stored']['count']} are kept, {size(held['stored']['bytes'])}")
    for one in held["damaged"]:
        console().print(f"damaged: {_names(one)}: {one['detail']}", markup=False)


def _names(damaged: Any) -> str:
    return ", ".join(damaged["needed_by"]) or str(damaged["sha256"])
