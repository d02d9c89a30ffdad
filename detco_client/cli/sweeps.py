"""`detco sweeps`: many runs as one."""

from typing import Annotated, Any

import typer

from detco_client.cli.output import Json, age, console, duration, show_fields, show_json, show_list, size, table
from detco_client.cli.removal import DryRun, show_removal
from detco_client.cli.session import connect
from detco_client.cli.values import grid_of, pairs
from detco_client.resources.sweeps import SweepDetail

app = typer.Typer(help="Runs that differ in a few keys, as one.", no_args_is_help=True)
SweepId = Annotated[str, typer.Argument(metavar="SWEEP", help="The sweep's id.")]


@app.command()
def submit(
    dataset: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")],
    preset: Annotated[str, typer.Option(help="Where the configs start from.")],
    grid: Annotated[
        list[str],
        typer.Option(metavar="KEY=VALUES", help="A key to vary and its values, e.g. optim.lr=0.01,0.03 or seed=[1,2]."),
    ],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A field that all runs share.")
    ] = None,
    evaluate: Annotated[
        str | None, typer.Option(metavar="TASK:DATASET", help="Evaluate each completed run, e.g. knn:birds.")
    ] = None,
    max_parallel: Annotated[int | None, typer.Option(help="How many of its runs may go on at once.")] = None,
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    gpus: Annotated[int | None, typer.Option(help="How many GPUs each run gets.")] = None,
    priority: Annotated[int | None, typer.Option(help="Higher runs first.")] = None,
    group: Annotated[str | None, typer.Option(help="Of its runs; the sweep's id without it.")] = None,
    key: Annotated[str, typer.Option(help="Idempotency key: sending the same twice makes one sweep.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run; queue nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Queue a run for every combination of the values."""
    more = {
        "name": name,
        "gpus": gpus,
        "priority": priority,
        "group": group,
        "max_parallel": max_parallel,
        "evaluate": _evaluation(evaluate),
    }
    given: dict[str, Any] = {field: value for field, value in more.items() if value is not None}
    asked = (dataset, preset, grid_of(grid, "--grid"), pairs(set_ or [], "--set"))
    with connect() as client:
        if dry_run:
            _show_plan(client.sweeps.plan(*asked, **given), as_json)
            return
        made = client.sweeps.submit(*asked, key=key, **given)
    if as_json:
        show_json(made)
    else:
        console().print(f"{made['id']}  {made['state']}  {len(made['items'])} runs")


@app.command("list")
def list_(
    group: Annotated[str | None, typer.Option(help="Only those of this group.")] = None, as_json: Json = False
) -> None:
    """Every sweep, newest first."""
    columns = {
        "SWEEP": lambda s: s["id"],
        "NAME": lambda s: s.get("name"),
        "STATE": lambda s: s["state"],
        "RUNS": lambda s: _counts(s["runs"]),
        "VARIED": lambda s: s["varied"],
        "DATASET": lambda s: s["dataset"],
        "AGE": lambda s: age(s["created_at"]),
    }
    with connect() as client:
        show_list(client.sweeps.list(group), columns, as_json)


@app.command()
def show(sweep: SweepId, as_json: Json = False) -> None:
    """One sweep: its runs ranked, and the scores by each varied key."""
    with connect() as client:
        found = client.sweeps.get(sweep)
    if as_json:
        show_json(found)
    else:
        _show(found)


@app.command()
def cancel(sweep: SweepId, as_json: Json = False) -> None:
    """Cancel all of its runs and evaluations that have not ended."""
    with connect() as client:
        found = client.sweeps.cancel(sweep)
    if as_json:
        show_json(found)
    else:
        console().print(f"{found['id']}  {found['state']}  {_counts(found['runs'])}")


@app.command()
def delete(sweep: SweepId, dry_run: DryRun = False) -> None:
    """Delete a sweep that has ended, with its runs and evaluations; what else was made from its runs stays."""
    with connect() as client:
        show_removal(client.sweeps.delete(sweep, dry_run=dry_run), dry_run=dry_run)


def _evaluation(words: str | None) -> dict[str, str] | None:
    if words is None:
        return None
    task, colon, dataset = words.partition(":")
    if not (task and colon and dataset):
        raise typer.BadParameter(f"{words!r} is not TASK:DATASET, e.g. knn:birds", param_hint="--evaluate")
    return {"task": task, "dataset": dataset}


def _show(sweep: SweepDetail) -> None:
    ranked = sweep["ranked_by"]
    fields = {
        "sweep": sweep["id"],
        "name": sweep["name"],
        "state": sweep["state"],
        "reason": sweep["reason"],
        "runs": _counts(sweep["runs"]),
        "evaluations": _counts(sweep["evaluations"]),
        "data set": sweep["dataset"],
        "preset": sweep["preset"],
        "ranked by": f"{ranked['score']} of {ranked['task']} ({ranked['by']})"
        if ranked
        else "nothing: no evaluation, no monitor",
    }
    show_fields(fields)
    items = sorted(sweep["items"], key=lambda item: (item["rank"] is None, item["rank"] or 0, item["number"]))
    rows = [
        [
            i["run"],
            i["rank"],
            i["score"],
            *(i["overrides"].get(key) for key in sweep["varied"]),
            i["state"],
            i["metrics"].get("loss"),
        ]
        for i in items
    ]
    console().print(table("", ["RUN", "RANK", "SCORE", *sweep["varied"], "STATE", "LOSS"], rows))
    for varied in sweep["comparison"]:
        means = [[group["group"], _means(group["scores"])] for group in varied["groups"]]
        console().print(table("", [varied["key"], "MEAN SCORES"], means))


def _show_plan(plan: Any, as_json: bool) -> None:
    if as_json:
        show_json(plan)
        return
    total = plan["estimate"]
    fields = {
        "runs": len(plan["runs"]),
        "data set": plan["dataset"],
        "time": duration(total["wall_seconds"]),
        "at once": total["parallel"],
        "GPU time": duration(total["gpu_seconds"]),
        "disk": size(total["disk_bytes"]) if total["disk_bytes"] else None,
        "basis": total["basis"],
        "warnings": [warning["message"] for warning in plan["warnings"]],
    }
    show_fields(fields)
    rows = [[run["number"], *(run["overrides"].get(key) for key in plan["varied"])] for run in plan["runs"]]
    console().print(table("", ["RUN", *plan["varied"]], rows))


def _counts(states: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.items())


def _means(scores: dict[str, Any]) -> str:
    return "  ".join(f"{name} {spread['mean']:.1f}" for name, spread in scores.items())
