"""`detco webhooks`: who is told of what."""

from typing import Annotated, Any

import typer

from detco_client.cli.output import Json, age, console, show_fields, show_json, show_list
from detco_client.cli.session import connect

app = typer.Typer(help="Addresses that are told of events (needs the scope admin).", no_args_is_help=True)
WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK", help="The webhook's id.")]
DeliveryId = Annotated[str, typer.Argument(metavar="DELIVERY", help="The delivery's id.")]


@app.command()
def create(
    url: Annotated[str, typer.Argument(help="http or https.")],
    event: Annotated[list[str], typer.Option(help="run.completed, run.*, *; repeat for several.")],
    description: Annotated[str | None, typer.Option(help="For people.")] = None,
    as_json: Json = False,
) -> None:
    """Make a webhook; the secret its messages are signed with is shown this once."""
    with connect() as client:
        _show(client.webhooks.create(url, event, description), as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Every webhook, and since when it fails."""
    columns = {
        "WEBHOOK": lambda w: w["id"],
        "URL": lambda w: w["url"],
        "EVENTS": lambda w: w["events"],
        "ENABLED": lambda w: "yes" if w["enabled"] else w["disabled_reason"] or "no",
        "FAILING": lambda w: age(w["failing_since"]),
    }
    with connect() as client:
        show_list(client.webhooks.list(), columns, as_json)


@app.command()
def log(
    webhook: WebhookId,
    state: Annotated[str | None, typer.Option(help="pending, delivered or failed.")] = None,
    as_json: Json = False,
) -> None:
    """What it was told, newest first, and what came back."""
    columns = {
        "DELIVERY": lambda d: d["id"],
        "TYPE": lambda d: d["type"],
        "STATE": lambda d: d["state"],
        "TRIES": lambda d: d["tries"],
        "LAST": _last,
        "AGE": lambda d: age(d["created_at"]),
    }
    with connect() as client:
        show_list(client.webhooks.deliveries(webhook, state), columns, as_json)


@app.command("test")
def send_test(webhook: WebhookId, as_json: Json = False) -> None:
    """Send it a message that says nothing but that it arrived."""
    with connect() as client:
        _say(client.webhooks.test(webhook), as_json)


@app.command()
def redeliver(webhook: WebhookId, delivery: DeliveryId, as_json: Json = False) -> None:
    """Send a message again, under the same event id."""
    with connect() as client:
        _say(client.webhooks.redeliver(webhook, delivery), as_json)


@app.command()
def enable(webhook: WebhookId) -> None:
    """Send to it again; what waits goes out."""
    _switch(webhook, enabled=True)


@app.command()
def disable(webhook: WebhookId) -> None:
    """Keep it, and send nothing."""
    _switch(webhook, enabled=False)


@app.command()
def rotate(webhook: WebhookId, as_json: Json = False) -> None:
    """Make a new secret; for 24 h messages carry signatures of both."""
    with connect() as client:
        _show(client.webhooks.rotate(webhook), as_json)


@app.command()
def delete(webhook: WebhookId) -> None:
    """Remove it with the log of its deliveries."""
    with connect() as client:
        client.webhooks.delete(webhook)
    console().print(f"{webhook} is deleted", markup=False)


def _switch(webhook: str, *, enabled: bool) -> None:
    with connect() as client:
        client.webhooks.change(webhook, enabled=enabled)
    console().print(f"{webhook} is {'enabled' if enabled else 'disabled'}", markup=False)


def _last(delivery: Any) -> str:
    if not delivery["attempts"]:
        return ""
    last = delivery["attempts"][-1]
    return " ".join(str(part) for part in (last["status"], last["error"]) if part)


def _say(delivery: Any, as_json: bool) -> None:
    if as_json:
        show_json(delivery)
    else:
        console().print(f"{delivery['id']} is on its way; detco webhooks log {delivery['webhook']}", markup=False)


def _show(webhook: Any, as_json: bool) -> None:
    if as_json:
        show_json(webhook)
    else:
        show_fields({name: webhook[name] for name in ("secret", "id", "url", "events", "description")})
