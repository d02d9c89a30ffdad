"""`detco up`, `serve`, `work`, `migrate`: each replaces itself by the process it names, importing none of it."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

DataDir = Annotated[Path | None, typer.Option(help="Where everything is kept.", envvar="DETCO_DATA_DIR")]
Host = Annotated[str | None, typer.Option(help="The address to listen on.", show_default="127.0.0.1")]
Port = Annotated[int | None, typer.Option(help="The port to listen on; 0 takes a free one.", show_default="8000")]


def up(data_dir: DataDir = None, host: Host = None, port: Port = None) -> None:
    """Run the whole service in one: API, one worker, SQLite, local files. Ctrl-C ends it; jobs are kept."""
    become("server", "--embedded", **{"data-dir": data_dir, "host": host, "port": port})


def serve(
    only: Annotated[Literal["api", "features"] | None, typer.Option(help="Serve this part alone.")] = None,
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = None,
) -> None:
    """Run the API server; database, broker and store as DETCO_DATABASE_URL, ... say."""
    become("server", **{"only": only, "data-dir": data_dir, "host": host, "port": port})


def work(data_dir: DataDir = None) -> None:
    """Run a worker: it claims jobs as its slots allow."""
    become("worker", **{"data-dir": data_dir})


def migrate(data_dir: DataDir = None) -> None:
    """Bring the database to the newest schema."""
    if data_dir:
        os.environ["DETCO_DATA_DIR"] = str(data_dir)
    become("control", "migrate")


def become(module: str, *words: str, **options: object) -> NoReturn:
    """Replace this process by `python -m module`; a signal sent to it reaches the service itself."""
    given = [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]
    sys.stdout.flush()
    # -P: a folder called `server` where the command is typed must not be taken for ours.
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *words, *given])  # noqa: S606 - no shell is the point
