"""`detco evaluations`: score backbones on labelled data."""

from typing import Annotated, Any

import typer

from detco_client.cli.output import Json, age, console, show_fields, show_json, show_list, table
from detco_client.cli.session import connect
from detco_client.cli.values import one_of, pairs

app = typer.Typer(help="Score a checkpoint, a model or weights.", no_args_is_help=True)
Ids = Annotated[list[str], typer.Argument(metavar="EVALUATION...", help="Two or more ids.")]


@app.command()
def submit(
    task: Annotated[str, typer.Argument(help="knn, ...")],
    dataset: Annotated[str, typer.Option(help="NAME or NAME@VERSION of a labelled data set.")],
    run: Annotated[str | None, typer.Option(help="Score a checkpoint of this run.")] = None,
    checkpoint: Annotated[str, typer.Option(help="Which: last, best or an id.")] = "last",
    model: Annotated[str | None, typer.Option(help="Score NAME@ALIAS or NAME:VERSION.")] = None,
    weights: Annotated[str | None, typer.Option(help="Score imported weights, by id or name.")] = None,
    random: Annotated[bool, typer.Option("--random", help="Score random weights: the floor.")] = False,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the task, e.g. k=20.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait for the score.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done; queue nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Queue an evaluation."""
    one_of(run=run, model=model, weights=weights, random=random)
    options = pairs(option or [], "--option")
    with connect() as client:
        if dry_run:
            show_json(client.evaluations.plan(task, _source(run, checkpoint, model, weights), dataset, options))
            return
        found = client.evaluations.submit(task, _source(run, checkpoint, model, weights), dataset, options)
        if wait:
            found = client.evaluations.wait(found["id"])
    _show(found, as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Every evaluation, newest first."""
    columns = {
        "EVALUATION": lambda e: e["id"],
        "TASK": lambda e: e["task"],
        "STATE": lambda e: e["state"],
        "SOURCE": lambda e: _source_text(e.get("source") or {}),
        "DATASET": lambda e: e.get("dataset"),
        "SCORES": _scores,
        "AGE": lambda e: age(e["created_at"]),
    }
    with connect() as client:
        show_list(client.evaluations.list(), columns, as_json)


@app.command()
def show(evaluation: Annotated[str, typer.Argument()], as_json: Json = False) -> None:
    """One evaluation and its report."""
    with connect() as client:
        _show(client.evaluations.get(evaluation), as_json)


@app.command()
def compare(
    evaluations: Ids,
    group_by: Annotated[str | None, typer.Option(help="What makes a group, e.g. group or a label.")] = None,
    as_json: Json = False,
) -> None:
    """The scores of several evaluations side by side."""
    with connect() as client:
        found = client.evaluations.compare(evaluations, group_by)
    if as_json:
        show_json(found)
        return
    rows = [
        [e["id"], e["task"], _source_text(e["source"]), e["dataset"], _scores(e) or e["state"]] for e in found["items"]
    ]
    console().print(table("", ["EVALUATION", "TASK", "SOURCE", "DATASET", "SCORES"], rows))


def _source(run: str | None, checkpoint: str, model: str | None, weights: str | None) -> dict[str, str]:
    if run:
        return {"run": run, "checkpoint": checkpoint}
    return {"model": model} if model else {"weights": weights or "random"}


def _source_text(source: dict[str, Any]) -> str:
    return " ".join(str(value) for value in source.values() if isinstance(value, (str, int)))


def _scores(evaluation: Any) -> str:
    scores = (evaluation.get("report") or {}).get("scores", {})
    return "  ".join(f"{name} {value:.1f}" for name, value in scores.items())


def _show(evaluation: Any, as_json: bool) -> None:
    if as_json:
        show_json(evaluation)
        return
    fields = {
        "evaluation": evaluation["id"],
        "state": evaluation["state"],
        "reason": evaluation.get("reason"),
        "waiting for": evaluation.get("waiting_detail") or evaluation.get("waiting_reason"),
        "task": evaluation["task"],
        "source": _source_text(evaluation.get("source") or {}),
        "data set": evaluation.get("dataset"),
        "scores": _scores(evaluation),
        "protocol": (evaluation.get("report") or {}).get("protocol"),
    }
    show_fields(fields)
