"""`python -m server`: the service of one machine. Embedded, it migrates, makes the first token and keeps a worker."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from control import log
from control.errors import ControlError
from control.settings import Settings, load_settings
from server import data_folder, first_steps
from server.app import make_app
from server.banner import banner
from server.running import Endpoint, listen, raise_file_limit, require_free, serve
from server.serving_gpus import served_on
from server.supervision import WORKER, worker_supervisor


def main(arguments: Sequence[str] | None = None, worker: Sequence[str] = WORKER) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status: 1 when the service cannot start."""
    options = _options(arguments)
    try:
        settings = load_settings(data_dir=options.data_dir, host=options.host, port=options.port)
        log.configure(settings.log_level)
        raise_file_limit()
        _run(settings, options, worker)
    except (ControlError, OSError) as error:
        print(f"the service cannot start: {error}", file=sys.stderr)  # noqa: T201 - a command line's own voice
        return 1
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m server", description=__doc__)
    parser.add_argument("--data-dir", help="where everything is kept (DETCO_DATA_DIR, else ~/.detco)")
    parser.add_argument("--host", help="the address to listen on (DETCO_HOST, else 127.0.0.1)")
    parser.add_argument("--port", type=int, help="the port to listen on, 0 for a free one (DETCO_PORT, else 8000)")
    parser.add_argument("--only", choices=["api", "features"], help="serve this part alone, without a worker")
    worker = parser.add_mutually_exclusive_group()
    worker.add_argument("--embedded", action="store_true", help="all in one: migrate first and keep a worker")
    worker.add_argument("--no-worker", action="store_true", help="keep no worker, though nothing else is configured")
    return parser.parse_args(arguments)


def _run(settings: Settings, options: argparse.Namespace, worker: Sequence[str]) -> None:
    all_in_one = options.embedded or (settings.embedded and options.only is None)
    with_worker = all_in_one and not options.no_worker
    supervisor = worker_supervisor(settings, worker) if with_worker else None
    data_folder.enter(settings.data_dir)
    with ExitStack() as stack:
        if with_worker:
            stack.enter_context(data_folder.alone(settings.data_dir))
        listener = stack.enter_context(listen(settings.host, settings.port))
        endpoint = Endpoint.of(listener)
        if settings.grpc_port and options.only != "api":
            require_free(settings.host, settings.grpc_port)
        first_steps.prepare(settings, migrate=all_in_one or settings.embedded)
        if options.only != "api":
            stack.enter_context(served_on(settings))
        app = make_app(settings, [options.only] if options.only else ("api", "features"))
        stack.enter_context(data_folder.announced(settings.data_dir, endpoint.url, os.getpid()))
        said = banner(settings, endpoint.url, with_worker=supervisor is not None)
        print(said, flush=True)  # noqa: T201 - what a person waits for
        serve(app, listener, supervisor)
