"""The one place that speaks HTTP: requests, pages, and problem documents turned into errors.

What may be repeated without harm (reading, idempotent writes, and POSTs with an `Idempotency-Key`) is repeated when the
connection fails or the service is starting; a `429` is repeated after its `Retry-After`, since nothing was begun.
"""

import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import httpx

from detco_client.errors import ApiError, BadReply, Busy, CannotConnect, ServiceFailed, api_error

PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds before each repetition."""
TIMEOUT = httpx.Timeout(120.0, connect=10.0)
_REPEATABLE = frozenset({"GET", "PUT", "PATCH", "DELETE"})
"""A PATCH says what is to be, never what is to be added."""
Params = Mapping[str, object]


class Transport:
    """Sends requests to one service and understands its answers.

    May be pickled, token and all, for a process of one's own: it has connections of its own there.
    """

    def __init__(self, http: httpx.Client, opened: tuple[str, str | None, httpx.BaseTransport | None]) -> None:
        """`opened`: what `open_transport` was given."""
        self.http = http
        self._opened = opened
        self._process = os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        return open_transport, self._opened

    def here(self) -> "Transport":
        """Itself; in a process that was forked since, another: two processes cannot talk on one connection."""
        return self if self._process == os.getpid() else open_transport(*self._opened)

    @property
    def url(self) -> str:
        return str(self.http.base_url).rstrip("/")

    def get(self, path: str, params: Params | None = None) -> Any:
        """The JSON body of a GET."""
        return body_of(self.send("GET", path, params=params))

    def post(
        self, path: str, json: object = None, params: Params | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """The JSON body a POST answers."""
        return body_of(self.send("POST", path, json=json, params=params, headers=headers))

    def create(self, path: str, json: Mapping[str, object], key: str = "") -> Any:
        """The JSON body of a POST that makes something, once, however often it has to be sent.

        What is None is left out of the body; `key` is the Idempotency-Key, made up when empty.
        """
        sent = {name: value for name, value in json.items() if value is not None}
        return self.post(path, sent, headers={"Idempotency-Key": key or str(uuid.uuid4())})

    def put(
        self, path: str, json: object = None, params: Params | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """The JSON body a PUT answers."""
        return body_of(self.send("PUT", path, json=json, params=params, headers=headers))

    def patch(self, path: str, json: Mapping[str, object]) -> Any:
        """The JSON body a PATCH answers."""
        return body_of(self.send("PATCH", path, json=json))

    def delete(self, path: str, params: Params | None = None) -> Any:
        """The JSON body a DELETE answers, None when there is none."""
        return body_of(self.send("DELETE", path, params=params))

    def items(self, path: str, params: Params | None = None) -> Iterator[Any]:
        """Every item of a list, page after page, asked for as they are needed."""
        token: str | None = None
        while True:
            page = self.get(path, {**(params or {}), "page_token": token})
            if not isinstance(page, dict) or not isinstance(page.get("items"), list):
                raise BadReply(f"GET {path} answered something that is not a list of items")
            yield from page["items"]
            token = page.get("next_page_token")
            if not token:
                return

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The response to a request that the service accepted.

        Raises:
            CannotConnect: when nothing answers.
            ApiError: of the kind that fits, when it refuses.
        """
        headers = options.get("headers") or {}
        repeatable = method in _REPEATABLE or "Idempotency-Key" in headers
        options["params"] = _flat(options.get("params"))
        for pause in PAUSES:
            try:
                return self._send(method, path, options)
            except CannotConnect as error:
                # A connection that was never made carried no request.
                if not (repeatable or isinstance(error.__cause__, httpx.ConnectError)):
                    raise
                time.sleep(pause)
            except Busy as error:
                time.sleep(max(pause, error.retry_after))
            except ServiceFailed as error:
                if not repeatable or error.status != 503:
                    raise
                time.sleep(pause)
        return self._send(method, path, options)

    def _send(self, method: str, path: str, options: Mapping[str, Any]) -> httpx.Response:
        try:
            response = self.http.request(method, path, **options)
        except httpx.TransportError as error:
            raise CannotConnect(self.url, str(error) or type(error).__name__) from error
        if response.is_error:
            raise refusal(response)
        return response

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str], timeout: float) -> Iterator[httpx.Response]:
        """A GET whose body is read piece by piece; `timeout` is the longest silence, in seconds.

        Raises:
            ApiError: when it is refused. `httpx.TransportError` passes: the reader knows how to continue.
        """
        limits = httpx.Timeout(timeout, connect=10.0)
        with self.http.stream("GET", path, headers=dict(headers), timeout=limits) as response:
            if response.is_error:
                response.read()
                raise refusal(response)
            yield response


def open_transport(url: str, token: str | None, transport: httpx.BaseTransport | None = None) -> Transport:
    """A transport to the service at `url`; close it by `.http.close()`."""
    headers = {"User-Agent": f"detco-client/{_version()}"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    http = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT, transport=transport)
    return Transport(http, (url, token, transport))


def body_of(response: httpx.Response) -> Any:
    """The JSON body of a response, None when there is none."""
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError as error:
        raise BadReply(
            f"{response.request.method} {response.request.url} answered something that is not JSON"
        ) from error


def refusal(response: httpx.Response) -> ApiError:
    """The error a refused response stands for, also when a proxy on the way wrote it."""
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict) or "code" not in problem:
        text = response.text.strip()[:200] or response.reason_phrase
        problem = {
            "detail": f"{response.request.method} {response.request.url} answered {response.status_code}: {text}"
        }
    return api_error(response.status_code, problem, response.headers.get("Retry-After"))


def _flat(params: Params | None) -> list[tuple[str, str]]:
    """Query parameters as httpx takes them: None left out, lists repeated, booleans in JSON's words."""
    pairs: list[tuple[str, str]] = []
    for name, value in (params or {}).items():
        many = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
        pairs += [(name, str(v).lower() if isinstance(v, bool) else str(v)) for v in many if v is not None]
    return pairs


def _version() -> str:
    try:
        return version("detco")
    except PackageNotFoundError:
        return "source"
