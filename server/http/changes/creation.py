"""Answers a POST that makes something, at most once for each Idempotency-Key, and sends the wake-ups it owes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse

from control import jobs
from control.records.access import audit
from control.records.access.idempotency import Answer, Slip, recall, remember
from control.records.access.principals import Principal
from detco_core.contract.reader import digest
from server.http.deps import Services, Shared, Submitter
from server.http.middleware.context import route_template
from server.http.problems import request_id

_IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]
"""A client's own name for this request; sent again with the same body, it is answered as the first time."""


@dataclass(frozen=True, slots=True)
class Posting:
    """A request to make something: who sends it, and under which key."""

    services: Services
    who: Principal
    request: Request
    key: str | None

    def note(self, session: Session, action: str, target: str, details: Mapping[str, Any] | None = None) -> None:
        """Let the audit know what was made."""
        audit.note(session, self.who.name, action, target, details, request_id=request_id(self.request.scope))


def _posting(who: Submitter, services: Shared, request: Request, key: _IdempotencyKey = None) -> Posting:
    return Posting(services, who, request, key)


Posted = Annotated[Posting, Depends(_posting)]
"""What a route that makes something has in its signature; its caller may submit."""


@dataclass(frozen=True, slots=True)
class Created:
    """What was made and where it is."""

    location: str
    view: BaseModel
    status: int = 202
    """201 for what is no job."""


Make = Callable[[Session], Created]


def create(posted: Posting, body: BaseModel, make: Make) -> JSONResponse:
    """Make it and answer with `Location` and the thing itself; a known key gets the answer it got before."""
    slip = None if posted.key is None else _slip(posted, body, posted.key)
    with posted.services.work() as session:
        answer = recall(session, slip) if slip else None
        replayed = answer is not None
        if answer is None:
            made = make(session)
            answer = Answer(made.status, made.location, made.view.model_dump(mode="json"))
            if slip:
                remember(session, slip, answer)
    headers = {"Location": answer.location or "", "Retry-After": "1"}
    headers |= {"Idempotency-Replayed": "true"} if replayed else {}
    return JSONResponse(answer.body, answer.status, headers, background=wake_up(posted.services))


def wake_up(services: Services) -> BackgroundTask:
    """Send what the outbox owes once the answer is out: a broker that is slow or away delays nobody."""
    return BackgroundTask(jobs.relay, services.engine, services.celery)


def _slip(posted: Posting, body: BaseModel, key: str) -> Slip:
    request = posted.request
    asked = {"body": body.model_dump(mode="json"), "path": request.url.path, "query": str(request.url.query)}
    route = f"{request.method} {route_template(request.scope)}"
    return Slip(posted.who.token_id, route, key, digest(asked))
