"""The `detco` command: every verb in its place."""

import sys
from functools import cache
from typing import Any

import typer
import typer.main

from detco_client.cli import (
    config,
    datasets,
    evaluations,
    extractions,
    keeping,
    models,
    runs,
    service,
    sweeps,
    tokens,
    webhooks,
    weights,
    workers,
)
from detco_client.cli.features import features
from detco_client.cli.output import complain
from detco_client.cli.session import remember
from detco_client.cli.upload import upload
from detco_client.cli.usage import usage
from detco_client.errors import ClientError
from detco_core.contract.errors import DetcoError


@cache
def make_app() -> typer.Typer:
    """The whole command; once a process, since verbs of several modules are added to one group."""
    app = typer.Typer(name="detco", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(remember)
    for verb in (service.up, service.serve, service.work, service.migrate):
        app.command(rich_help_panel="The service")(verb)
    groups = {
        "datasets": datasets,
        "weights": weights,
        "runs": runs,
        "sweeps": sweeps,
        "evaluations": evaluations,
        "extractions": extractions,
        "models": models,
    }
    keeping.install(runs.app, evaluations.app, models.app)
    for name, group in groups.items():
        app.add_typer(group.app, name=name, rich_help_panel="Jobs and models")
    for work in (features, upload):
        app.command(rich_help_panel="Jobs and models")(work)
    app.command(rich_help_panel="Around it")(usage)
    app.command(rich_help_panel="Around it")(keeping.gc)
    app.add_typer(tokens.app, name="tokens", rich_help_panel="Around it")
    app.add_typer(workers.app, name="workers", rich_help_panel="Around it")
    app.add_typer(webhooks.app, name="webhooks", rich_help_panel="Around it")
    app.add_typer(config.app, name="config", rich_help_panel="Around it")
    return app


@cache
def command() -> Any:
    """The same as click's, ready to be called."""
    return typer.main.get_command(make_app())


def main() -> None:
    """Run the command; what goes wrong is one clear line, and the exit code 1 (2 for a wrong command line)."""
    try:
        command()(prog_name="detco")
    except (ClientError, DetcoError) as error:
        complain(error)
        sys.exit(1)
