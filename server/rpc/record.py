"""What is noted of every call: its metric, its line in the access log, its span, as of a request to `/v2`."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from grpc import StatusCode
from starlette.datastructures import Headers
from starlette.types import Scope

from server.http.access import AccessLog, note, notes
from server.http.middleware.context import identity_of
from server.http.middleware.tracing import Tracing, trace_id
from server.http.problems import Problem, open_inference_status
from server.rpc.statuses import status_of
from server.telemetry import Telemetry

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Record:
    """One call under way. It is an HTTP request too, so it has a scope, where notes on it are kept."""

    scope: Scope
    identity: str
    bytes_in: int = 0
    bytes_out: int = 0
    code: StatusCode = StatusCode.CANCELLED
    status: int = 499
    """What `/v2` would have answered."""

    @property
    def headers(self) -> Headers:
        """The call's metadata, of text."""
        return Headers(scope=self.scope)

    def answered(self, size: int) -> None:
        """It ends well, with so many bytes more."""
        self.code, self.status = StatusCode.OK, 200
        self.bytes_out += size

    def refused(self, problem: Problem, seconds_left: float | None = None) -> str:
        """It ends with a problem, so long before the caller's own deadline; the details to send."""
        self.code, detail = status_of(problem, seconds_left)
        self.status = open_inference_status(problem)
        note(self.scope, cause=problem.code)
        return detail


class Recorder:
    """Keeps the records of a door."""

    def __init__(self, telemetry: Telemetry, access: AccessLog, tracing: Tracing) -> None:
        self._telemetry = telemetry
        self._access = access
        self._tracing = tracing
        self.under_way = 0
        """Calls that have not ended."""

    @contextmanager
    def call(self, route: str, metadata: Any, size: int = 0, identity: str | None = None) -> Iterator[Record]:
        """Note the call for as long as the block runs; who leaves before its end is noted as gone.

        `route` is `/SERVICE/METHOD`; `identity` the request's id, None: the caller's own or a new one.
        """
        texts = [(key.encode(), value.encode()) for key, value in metadata if isinstance(value, str)]
        scope: Scope = {"type": "http", "method": "POST", "path": route, "headers": texts, "state": {}}
        identity = identity or identity_of(Headers(scope=scope).get("x-request-id", ""))
        scope["state"]["request_id"] = identity
        record = Record(scope, identity, size)
        began = time.perf_counter()
        self.under_way += 1
        with self._tracing.request(scope) as span:
            try:
                yield record
            finally:
                self.under_way -= 1
                self._end(record, time.perf_counter() - began, span)

    def _end(self, record: Record, seconds: float, span: Any) -> None:
        scope, code = record.scope, record.code.name
        name = scope["path"].split("/", 2)[2]
        if record.code is StatusCode.CANCELLED and "cause" not in notes(scope):
            note(scope, cause="caller_left")
        said = {"grpc": code, **notes(scope)}
        self._telemetry.called(name, code, seconds)
        self._tracing.describe(span, scope, scope["path"], record.status, {"request_id": record.identity, **said})
        line = {"request_id": record.identity, "method": "POST", "route": scope["path"], "path": scope["path"]}
        line |= {"status": record.status, "ms": round(seconds * 1000, 3), "bytes_in": record.bytes_in}
        self._access.write({**line, "bytes_out": record.bytes_out, "trace": trace_id(span), **said})
        log.debug("gRPC %s -> %s in %.3f s", name, code, seconds)
