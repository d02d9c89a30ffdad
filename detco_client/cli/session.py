"""The service a command talks to: what `--url` and the environment say."""

import os
from typing import Annotated

import typer

from detco_client.client import DetcoClient

Url = Annotated[
    str | None,
    typer.Option(
        help="The service. Without it: the embedded one of this machine, else http://127.0.0.1:8000.",
        envvar="DETCO_URL",
        show_default=False,
    ),
]


def remember(url: Url = None) -> None:
    """Pretrain backbones with DetCo, evaluate and export them, serve dense features.

    The token comes from DETCO_TOKEN or DETCO_TOKEN_FILE, else from the embedded service's data folder.
    """
    if url:
        os.environ["DETCO_URL"] = url


def connect() -> DetcoClient:
    """A client for this command; use it in a `with`."""
    return DetcoClient()
