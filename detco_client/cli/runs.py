"""`detco runs`: submit, watch, steer and fetch pretraining runs."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from detco_client.cli import steering
from detco_client.cli.output import Json, age, console, show_fields, show_json, show_list, show_state, size
from detco_client.cli.session import connect
from detco_client.cli.values import pairs
from detco_client.cli.watch import losses, progress_text, warning_text, watch_run
from detco_client.client import DetcoClient

app = typer.Typer(help="Pretraining runs.", no_args_is_help=True)
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
for verb in steering.VERBS:
    app.command()(verb)


@app.command()
def submit(
    dataset: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")],
    preset: Annotated[str, typer.Option(help="Where the config starts from; see `detco config explain`.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a field, e.g. train.steps=60.")
    ] = None,
    init: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Start from weights=ID, model=NAME, or run=RUN and checkpoint=ID; strict=false takes what fits.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    gpus: Annotated[int | None, typer.Option(help="How many GPUs it gets on each node.")] = None,
    nodes: Annotated[int | None, typer.Option(help="How many hosts work on it together.")] = None,
    priority: Annotated[int | None, typer.Option(help="-100 to 100, higher first.")] = None,
    preempt: Annotated[bool, typer.Option("--preempt", help="Have less urgent runs make room for it.")] = False,
    group: Annotated[str | None, typer.Option(help="Runs that belong together.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="To find it by.")] = None,
    after: Annotated[list[str] | None, typer.Option(metavar="ID", help="A job that must be completed first.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Workers may work on it this long.")] = None,
    key: Annotated[str, typer.Option(help="Idempotency key: sending the same twice makes one run.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run; queue nothing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Watch it to its end.")] = False,
    as_json: Json = False,
) -> None:
    """Queue a pretraining run."""
    overrides = pairs(set_ or [], "--set")
    more = {
        "name": name,
        "gpus": gpus,
        "nodes": nodes,
        "priority": priority,
        "preempt": preempt or None,
        "group": group,
        "labels": {key: str(value) for key, value in pairs(label or [], "--label").items()} or None,
        "after": after,
        "max_seconds": max_seconds,
        "init": pairs(init or [], "--init") or None,
    }
    given = {field: value for field, value in more.items() if value is not None}
    with connect() as client:
        if dry_run:
            show_json(client.runs.plan(dataset, preset, overrides, **given))
            return
        run = client.runs.submit(dataset, preset, overrides, key=key, **given)
        show_state(run, as_json=as_json and not watch)
        if watch:
            _watch(client, run["id"])


@app.command()
def fork(
    run: RunId,
    carry: Annotated[
        Literal["weights", "all"],
        typer.Option(help="Start anew from its weights, or go on with optimizer, queues and random state."),
    ] = "weights",
    checkpoint: Annotated[str, typer.Option(help="last, best or a checkpoint's id.")] = "last",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a field of the run's config.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Other data, where weights are carried.")] = None,
    name: Annotated[str | None, typer.Option(help="What to call the new run.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run; queue nothing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Watch it to its end.")] = False,
    as_json: Json = False,
) -> None:
    """Go on from a checkpoint as a new run: a warm start, or more epochs for a run that is complete."""
    overrides = pairs(set_ or [], "--set")
    given = {field: value for field, value in {"dataset": dataset, "name": name}.items() if value is not None}
    with connect() as client:
        if dry_run:
            show_json(client.runs.plan_fork(run, overrides, carry=carry, checkpoint=checkpoint, **given))
            return
        made = client.runs.fork(run, overrides, carry=carry, checkpoint=checkpoint, **given)
        show_state(made, as_json=as_json and not watch)
        if watch:
            _watch(client, made["id"])


@app.command("list")
def list_(
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    group: Annotated[str | None, typer.Option(help="Only those of this group.")] = None,
    as_json: Json = False,
) -> None:
    """Every run, newest first."""
    columns = {
        "RUN": lambda r: r["id"],
        "NAME": lambda r: r.get("name"),
        "STATE": lambda r: r["state"],
        "STEP": lambda r: _steps(r),
        "LOSS": lambda r: (r.get("metrics") or {}).get("loss"),
        "DATASET": lambda r: r.get("dataset"),
        "AGE": lambda r: age(r["created_at"]),
    }
    with connect() as client:
        runs = client.runs.list(state=state, group=group)
        show_list(runs, columns, as_json, "no run yet: `detco runs submit DATASET --preset smoke`")


@app.command()
def show(run: RunId, as_json: Json = False) -> None:
    """One run: state, progress, losses, checkpoints."""
    with connect() as client:
        found = client.runs.get(run)
        if as_json:
            show_json(found)
            return
        _show(found)
        for checkpoint in client.runs.checkpoints(run):
            score = "" if checkpoint.get("score") is None else f"  score {checkpoint['score']:.4g}"
            console().print(f"checkpoint  step {checkpoint['step']:>8}  {size(checkpoint['bytes'])}{score}")


@app.command()
def watch(run: RunId) -> None:
    """Progress, speed, time left and losses until the run ends; Ctrl-C leaves the run alone."""
    with connect() as client:
        _watch(client, run)


@app.command()
def metrics(
    run: RunId,
    key: Annotated[list[str] | None, typer.Option(help="Only these, e.g. loss.")] = None,
    as_json: Json = False,
) -> None:
    """The newest, lowest and highest value of each metric; with --json the curves."""
    columns = {
        "METRIC": lambda m: m["key"],
        "STEP": lambda m: m["step"],
        "VALUE": lambda m: f"{m['value']:.5g}",
        "LOWEST": lambda m: f"{m['lowest']:.5g}",
        "HIGHEST": lambda m: f"{m['highest']:.5g}",
    }
    with connect() as client:
        if as_json:
            show_json(list(client.runs.curves([run], key)))
            return
        found = (row for row in client.runs.metrics_summary(run) if not key or row["key"] in key)
        show_list(found, columns, as_json, "no metrics yet: a run has some after its first steps")


@app.command()
def logs(
    run: RunId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as more is printed.")] = False,
) -> None:
    """What the run's processes printed."""
    with connect() as client:
        for piece in client.runs.follow_logs(run) if follow else [client.runs.logs(run)]:
            sys.stdout.write(piece)
            sys.stdout.flush()


@app.command()
def download(
    run: RunId,
    checkpoint: Annotated[str, typer.Option(help="last, best, a step, or a checkpoint's id.")] = "last",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file to write.")] = None,
) -> None:
    """Fetch a checkpoint; goes on where an earlier try broke off, and checks the digest."""
    with connect() as client:
        console().print(str(client.runs.download(run, output, checkpoint)))


def _watch(client: DetcoClient, run: str) -> None:
    ended = watch_run(client, run, console())
    if ended["state"] != "completed":
        raise typer.Exit(1)


def _show(run: Any) -> None:
    fields = {
        "run": run["id"],
        "name": run.get("name"),
        "state": run["state"],
        "reason": run.get("reason"),
        "waiting for": run.get("waiting_detail") or run.get("waiting_reason"),
        "progress": progress_text(run),
        "data set": run.get("dataset"),
        "preset": (run.get("config") or {}).get("preset"),
        "starts from": _beginning(run),
        "attempt": run.get("attempt"),
        "can": run.get("available_actions"),
    }
    show_fields(fields)
    if table := losses(run.get("metrics") or {}):
        console().print(table)
    for warning in run.get("warnings") or []:
        console().print(warning_text(warning), style="yellow", markup=False)


def _beginning(run: Any) -> str:
    """`weights wts_1`, `all of run_1 (checkpoint ckpt_2)`; empty for random weights."""
    if forked := run.get("forked_from"):
        return f"{forked['carry']} of {forked['run']} (checkpoint {forked['checkpoint']})"
    init = run.get("init") or {}
    named = [f"{key.removesuffix('_id').replace('_', ' ')} {value}" for key, value in init.items() if key != "strict"]
    return ", ".join(named) + ("" if init.get("strict", True) else " (what fits)")


def _steps(run: Any) -> str:
    progress = run.get("progress") or {}
    return f"{progress['step']}/{progress['steps']}" if progress else ""
