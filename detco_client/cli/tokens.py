"""`detco tokens`: who may do what."""

from typing import Annotated, Any

import typer

from detco_client.cli.output import Json, age, console, show_fields, show_json, show_list
from detco_client.cli.session import connect

app = typer.Typer(help="Access tokens (needs the scope admin).", no_args_is_help=True)
TokenId = Annotated[str, typer.Argument(metavar="TOKEN", help="The token's id, not its secret.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose, or what for.")],
    scope: Annotated[list[str], typer.Option(help="read, features, submit or admin; repeat for several.")],
    model: Annotated[list[str] | None, typer.Option(help="Limit it to this model; repeat for several.")] = None,
    as_json: Json = False,
) -> None:
    """Make a token; its secret is shown this once."""
    with connect() as client:
        _show(client.tokens.create(name, scope, model), as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Every token, without its secret."""
    columns = {
        "TOKEN": lambda t: t["id"],
        "NAME": lambda t: t["name"],
        "SCOPES": lambda t: t["scopes"],
        "MODELS": lambda t: t.get("models") or "all",
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
def rotate(token: TokenId, as_json: Json = False) -> None:
    """Make a new token with the same rights, then end the old one."""
    with connect() as client:
        old = client.tokens.get(token)
        new = client.tokens.create(old["name"], old["scopes"], old.get("models"))
        client.tokens.revoke(token)
    _show(new, as_json)


def _show(token: Any, as_json: bool) -> None:
    if as_json:
        show_json(token)
        return
    fields = {"token": token["token"], "id": token["id"], "name": token["name"], "scopes": token["scopes"]}
    show_fields({**fields, "models": token.get("models")})
