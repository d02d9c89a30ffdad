"""`detco workers`: who works, on what, and taking one out of service."""

from collections import Counter
from typing import Annotated, Any

import typer

from detco_client.cli.output import Json, age, console, duration, show_fields, show_json, show_list, table
from detco_client.cli.session import connect

app = typer.Typer(help="Workers and the slots of their hosts.", no_args_is_help=True)
WorkerId = Annotated[str, typer.Argument(metavar="WORKER", help="The worker's id, as `detco workers list` shows it.")]


@app.command("list")
def list_(
    all_: Annotated[bool, typer.Option("--all", help="Those that are gone, too.")] = False, as_json: Json = False
) -> None:
    """Workers heard of lately, and how many slots of their hosts are in use."""
    columns = {
        "WORKER": lambda w: w["id"],
        "HOST": lambda w: w["host"],
        "STATE": lambda w: w["state"],
        "VERSION": lambda w: w["software"],
        "BEAT": lambda w: duration(w["heartbeat_age"]),
        "LOOKED": lambda w: age(w["looked_at"]),
        "SLOTS": lambda w: _slots(w["slots"]),
    }
    with connect() as client:
        show_list(client.workers.list(all=all_), columns, as_json)


@app.command()
def show(worker: WorkerId, as_json: Json = False) -> None:
    """One worker, and who has which slot of its host."""
    with connect() as client:
        found: Any = client.workers.get(worker)
    if as_json:
        show_json(found)
        return
    show_fields({field: found[field] for field in ("id", "host", "state", "software", "pid", "roots", "seen_at")})
    rows = [
        [s["uuid"], s["purpose"], s["name"], s["run"] or s["holder"] or "", s["set_aside"] or ""]
        for s in found["slots"]
    ]
    console().print(table("", ["SLOT", "PURPOSE", "NAME", "HELD BY", "SET ASIDE"], rows))


@app.command()
def drain(
    worker: WorkerId,
    preempt: Annotated[bool, typer.Option("--preempt", help="Its runs save and are queued again at once.")] = False,
    as_json: Json = False,
) -> None:
    """Let a worker take nothing new, as before an upgrade (needs the scope admin)."""
    with connect() as client:
        _answer(client.workers.drain(worker, preempt=preempt), as_json)


@app.command()
def undrain(worker: WorkerId, as_json: Json = False) -> None:
    """Let a drained worker take work again (needs the scope admin)."""
    with connect() as client:
        _answer(client.workers.undrain(worker), as_json)


def _answer(worker: Any, as_json: bool) -> None:
    if as_json:
        show_json(worker)
        return
    held = sorted({slot["run"] for slot in worker["slots"] if slot["run"]})
    console().print(f"{worker['id']} of {worker['host']} is {worker['state']}; it holds {', '.join(held) or 'nothing'}")


def _slots(slots: Any) -> str:
    """`1 of 2 train, 0 of 2 light`"""
    every = Counter(slot["purpose"] for slot in slots)
    used = Counter(slot["purpose"] for slot in slots if slot["run"] or slot["holder"])
    return ", ".join(f"{used[purpose]} of {count} {purpose}" for purpose, count in every.items())
