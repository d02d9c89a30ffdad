"""The block of text that the service prints when it starts: where it is, and what it stands on."""

from sqlalchemy import make_url

from control.settings import Settings
from detco_core import __version__


def banner(settings: Settings, url: str, *, with_worker: bool) -> str:
    """URL, token file, database, broker, store, data set roots and worker; no secrets."""
    grpc = (
        {}
        if settings.grpc_port is None
        else {"gRPC": f"port {settings.grpc_port or '(a free one: the log says which)'}"}
    )
    lines = {
        "URL": f"{url}  (documentation at {url}/docs)",
        **grpc,
        "token": _token(settings),
        "database": _database(settings),
        "broker": _hidden(settings.broker_url)
        if settings.broker_url
        else f"files below {settings.data_dir / 'broker'}",
        "store": _hidden(settings.resolved_store_url),
        "data sets": "below " + ", ".join(settings.resolved_dataset_roots),
        "worker": "one, kept by this process" if with_worker else "none here: start some with `detco work`",
    }
    return f"DetCo Server {__version__}\n" + "\n".join(f"  {name:10} {value}" for name, value in lines.items())


def _token(settings: Settings) -> str:
    if settings.embedded or settings.bootstrap_token_file:
        return f"an admin token is in {settings.token_file}"
    return "none made here: set DETCO_BOOTSTRAP_TOKEN_FILE for a first one"


def _database(settings: Settings) -> str:
    url = make_url(settings.resolved_database_url)
    return f"SQLite {url.database}" if url.get_backend_name() == "sqlite" else _hidden(str(settings.database_url))


def _hidden(url: str) -> str:
    """The URL without its password and its query, which may hold secrets."""
    return make_url(url).set(query={}).render_as_string(hide_password=True)
