"""Verbs of `detco runs` that steer runs after they were submitted: one, several, or all of a group or label."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from detco_client.cli.output import Json, console, duration, show_json, show_list, show_state
from detco_client.cli.session import connect
from detco_client.cli.values import pairs
from detco_client.resources.jobs import ActionResults

Runs = Annotated[list[str] | None, typer.Argument(metavar="RUN...", help="Ids of runs.", show_default=False)]
Group = Annotated[str | None, typer.Option(help="All of this group that have not ended, evaluations too.")]
Label = Annotated[str | None, typer.Option(help="All with this label: KEY or KEY=VALUE.")]


def cancel(run: Runs = None, group: Group = None, label: Label = None, as_json: Json = False) -> None:
    """Save and stop for good."""
    _act("cancel", run, group, label, as_json)


def pause(run: Runs = None, group: Group = None, label: Label = None, as_json: Json = False) -> None:
    """Save and give the machine back."""
    _act("pause", run, group, label, as_json)


def finish(run: Runs = None, group: Group = None, label: Label = None, as_json: Json = False) -> None:
    """Save now and call it complete."""
    _act("finish", run, group, label, as_json)


def kill(run: Runs = None, group: Group = None, label: Label = None, as_json: Json = False) -> None:
    """Stop at once; what was not saved is lost."""
    _act("kill", run, group, label, as_json)


def resume(
    run: Runs = None,
    group: Group = None,
    label: Label = None,
    gpus: Annotated[int | None, typer.Option(help="On another number of GPUs than before.")] = None,
    consent: Annotated[
        bool, typer.Option("--allow-world-size-change", help="Consent to that: batch norm groups change.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Go on from the last checkpoint of a paused run."""
    if gpus is None:
        _act("resume", run, group, label, as_json)
        return
    if not run or len(run) != 1 or group or label:
        raise typer.BadParameter("name one run with it", param_hint="--gpus")
    with connect() as client:
        show_state(client.runs.resume(run[0], gpus, allow_world_size_change=consent), as_json=as_json)


def change(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    group: Annotated[str | None, typer.Option(help="Runs that belong together.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="All of its labels: they take the place of the old.")
    ] = None,
    priority: Annotated[int | None, typer.Option(help="-100 to 100, higher first.")] = None,
    max_attempts: Annotated[int | None, typer.Option(help="Tries that may fail by its own fault.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Workers may work on it this long.")] = None,
    preempt: Annotated[bool | None, typer.Option(help="Whether less urgent runs make room for it.")] = None,
    preemptible: Annotated[bool | None, typer.Option(help="Whether it makes room for more urgent ones.")] = None,
    as_json: Json = False,
) -> None:
    """Change its name, labels and group; while it has not ended its urgency and limits."""
    labels = None if label is None else {key: str(value) for key, value in pairs(label, "--label").items()}
    asked: dict[str, object] = {"name": name, "group": group, "labels": labels, "priority": priority}
    asked |= {"max_attempts": max_attempts, "max_seconds": max_seconds, "preempt": preempt, "preemptible": preemptible}
    with connect() as client:
        given = {key: value for key, value in asked.items() if value is not None}
        show_state(client.runs.change(run, **given), as_json=as_json)


def attempts(run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")], as_json: Json = False) -> None:
    """Every try at a run: where, how long, how it ended and why."""
    columns: dict[str, Callable[[Any], object]] = {
        "TRY": lambda a: str(a["number"]),
        "STATE": lambda a: a["state"],
        "CAUSE": lambda a: a["cause"],
        "EXIT": lambda a: a["signal"] or a["exit_code"],
        "HOST": lambda a: a["host"],
        "TOOK": lambda a: duration(a["seconds"]),
        "REASON": lambda a: a["reason"],
    }
    with connect() as client:
        show_list(client.runs.attempts(run), columns, as_json, "no try yet: it waits")


VERBS = (cancel, pause, resume, finish, kill, change, attempts)


def _act(action: str, runs: list[str] | None, group: str | None, label: str | None, as_json: bool) -> None:
    if bool(runs) == bool(group or label):
        raise typer.BadParameter("name runs, or else --group or --label", param_hint="RUN...")
    with connect() as client:
        if runs and len(runs) == 1:
            show_state(getattr(client.runs, action)(runs[0]), as_json=as_json)
            return
        found = client.runs.act(action, runs or None, group=group, label=label)
    _answer_all(found, as_json)


def _answer_all(found: ActionResults, as_json: bool) -> None:
    if as_json:
        show_json(found)
    for one in found["items"] if not as_json else ():
        said = one["state"] if one["ok"] else f"not: {(one['problem'] or {}).get('detail', 'refused')}"
        console().print(f"{one['id']}  {said}", markup=False)
    if found["left"] and not as_json:
        console().print(f"{found['left']} more were not asked: say it again")
    if not all(one["ok"] for one in found["items"]):
        raise typer.Exit(1)
