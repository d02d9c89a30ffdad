"""Where the service is and which token opens it: arguments, then the environment, then the local data folder.

`DETCO_URL`, `DETCO_TOKEN` (or `DETCO_TOKEN_FILE`) and `DETCO_DATA_DIR` are the variables read. An embedded service
leaves its address in `DATA_DIR/server.json` and an admin token in `DATA_DIR/token`.
"""

import json
import os
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from detco_client.errors import ClientError

DEFAULT_URL = "http://127.0.0.1:8000"


def data_dir() -> Path:
    """The folder an embedded service on this machine keeps its data in."""
    return Path(os.environ.get("DETCO_DATA_DIR") or Path.home() / ".detco").expanduser()


def find_url(url: str | None = None) -> str:
    """The service's address without a trailing slash.

    Raises:
        ClientError: when it is not an http or https address.
    """
    found = url or os.environ.get("DETCO_URL") or _running_url() or DEFAULT_URL
    parts = urlsplit(found)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _problem(f"{found!r} is not the address of a service", f"write it as {DEFAULT_URL}")
    return found.rstrip("/")


def find_token(url: str, token: str | None = None) -> str | None:
    """The bearer token for the service at `url`.

    The token in the data folder is an administrator's, so it is only sent to this machine.
    """
    given = token or os.environ.get("DETCO_TOKEN")
    if given:
        return given.strip()
    if file := os.environ.get("DETCO_TOKEN_FILE"):
        return _read_token(Path(file))
    own = data_dir() / "token"
    return _read_token(own) if _is_local(url) and own.exists() else None


def _running_url() -> str | None:
    try:
        found = json.loads((data_dir() / "server.json").read_text("utf-8"))["url"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def _read_token(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise _problem(f"the token file {path} cannot be read: {error.strerror}", "set DETCO_TOKEN") from error


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _problem(message: str, remedy: str) -> ClientError:
    error = ClientError(message)
    error.remedy = remedy
    return error
