"""`detco tokens`: who may do what."""

from typing import Annotated, Any

import typer

from detco_client.cli.output import Json, age, console, show_fields, show_json, show_list
from detco_client.cli.session import connect

app = typer.Typer(help="Access tokens (needs the scope admin).", no_args_is_help=True)
Running = Annotated[int | None, typer.Option(help="Jobs it may have at work at once.", min=0)]
Slots = Annotated[int | None, typer.Option(help="Training slots these may hold.", min=0)]
Queued = Annotated[int | None, typer.Option(help="Jobs it may have waiting.", min=0)]
Images = Annotated[int | None, typer.Option(help="Images a feature server may have of it at once.", min=1)]
Pixels = Annotated[int | None, typer.Option(help="Pixels a second it may send to a feature server.", min=1)]
TokenId = Annotated[str, typer.Argument(metavar="TOKEN", help="The token's id, not its secret.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose, or what for.")],
    scope: Annotated[list[str], typer.Option(help="read, features, submit or admin; repeat for several.")],
    model: Annotated[list[str] | None, typer.Option(help="Limit it to this model; repeat for several.")] = None,
    days: Annotated[float | None, typer.Option(help="It ends by itself after so many.", min=0.001)] = None,
    running: Running = None,
    slots: Slots = None,
    queued: Queued = None,
    images: Images = None,
    pixels_per_second: Pixels = None,
    as_json: Json = False,
) -> None:
    """Make a token; its secret is shown this once."""
    quota = {"running": running, "slots": slots, "queued": queued}
    quota |= {"images": images, "pixels_per_second": pixels_per_second}
    seconds = None if days is None else round(days * 86400)
    with connect() as client:
        bounds = {word: bound for word, bound in quota.items() if bound is not None}
        _show(client.tokens.create(name, scope, model, seconds, bounds), as_json)


@app.command()
def quota(
    token: TokenId,
    running: Running = None,
    slots: Slots = None,
    queued: Queued = None,
    images: Images = None,
    pixels_per_second: Pixels = None,
    none: Annotated[bool, typer.Option("--none", help="Take all bounds away.")] = False,
    as_json: Json = False,
) -> None:
    """What a token may have at once, and what it has; with options, what it may have from now on."""
    bounds = {"running": running, "slots": slots, "queued": queued}
    bounds |= {"images": images, "pixels_per_second": pixels_per_second}
    with connect() as client:
        if none or any(bound is not None for bound in bounds.values()):
            found = client.tokens.set_quota(token, **bounds)
        else:
            found = client.tokens.quota(token)
    if as_json:
        show_json(found)
        return
    show_fields({word: _share(found["used"].get(word), bound) for word, bound in found["quota"].items()})


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Every token, without its secret."""
    columns = {
        "TOKEN": lambda t: t["id"],
        "NAME": lambda t: t["name"],
        "SCOPES": lambda t: t["scopes"],
        "MODELS": lambda t: t.get("models") or "all",
        "STATE": _state,
        "USED": lambda t: age(t["last_used_at"]),
        "AGE": lambda t: age(t["created_at"]),
    }
    with connect() as client:
        show_list(client.tokens.list(), columns, as_json)


@app.command()
def revoke(token: TokenId) -> None:
    """End a token; servers forget it within 30 s."""
    with connect() as client:
        client.tokens.revoke(token)
    console().print(f"{token} is revoked", markup=False)


@app.command()
def rotate(
    token: TokenId,
    grace: Annotated[int, typer.Option(help="Seconds the old one is taken still; 0 ends it at once.", min=0)] = 3600,
    as_json: Json = False,
) -> None:
    """Make a new token with the same rights; the old one ends after the grace."""
    with connect() as client:
        _show(client.tokens.rotate(token, grace), as_json)


def _share(used: int | None, bound: int | None) -> str:
    """What is used of a bound; feature servers do not tell, and have bounds of their own."""
    if used is None:
        return "as the server is set" if bound is None else str(bound)
    return f"{used} of {'any number' if bound is None else bound}"


def _state(token: Any) -> str:
    if token["revoked_at"]:
        return "revoked"
    return f"until {token['expires_at']}" if token["expires_at"] else "valid"


def _show(token: Any, as_json: bool) -> None:
    if as_json:
        show_json(token)
        return
    fields = {"token": token["token"], "id": token["id"], "name": token["name"], "scopes": token["scopes"]}
    show_fields({**fields, "models": token.get("models")})
