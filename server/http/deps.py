"""What a route asks for in its signature: the services, who may call, and what part of a list is wanted."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

from celery import Celery
from fastapi import Depends, Path, Query, Request, Security
from fastapi.security import HTTPBearer
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from control.bus import Bus
from control.db.session import read_only, unit_of_work
from control.reading import ReadingRoom
from control.records.access.principals import Principal
from control.records.access.tokens import Scope
from control.records.paging import MAX_PAGE_SIZE, Page
from control.settings import Settings
from control.storage.base import Store
from server.features import allowances as features
from server.features.engine import FeatureEngine
from server.features.oip.service import OpenInference
from server.http.access import note
from server.http.callers.auth import Doorman
from server.http.callers.rechecks import Rechecks
from server.http.callers.streams import Streams
from server.http.patience import Patience
from server.telemetry import Telemetry


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the routes of one application share; `app.state.services`."""

    settings: Settings
    engine: Engine
    store: Store
    reading: ReadingRoom
    bus: Bus
    celery: Celery
    telemetry: Telemetry
    doorman: Doorman
    rechecks: Rechecks
    streams: Streams
    features: FeatureEngine | None
    """None in a process that serves the API only."""
    protocol: OpenInference | None = None
    """The same engine by the Open Inference Protocol."""
    patience: Patience = field(default_factory=Patience)
    """With which those who watch ask the tables."""
    serves_api: bool = True
    """False in a process that serves features only."""

    @contextmanager
    def work(self) -> Iterator[Session]:
        """A session that commits when the block ends; for plain `def` routes only."""
        with unit_of_work(self.engine) as session:
            yield session

    @contextmanager
    def look(self) -> Iterator[Session]:
        """A session that only reads; for plain `def` routes only."""
        with read_only(self.engine) as session:
            yield session


def services_of(request: Request) -> Services:
    """The services of the application a request came to."""
    services = request.app.state.services
    assert isinstance(services, Services)  # noqa: S101 - set once by `server.app.make_app`
    return services


async def _services(request: Request) -> Services:
    # A plain `def` would be called in a thread, for every request.
    return services_of(request)


Shared = Annotated[Services, Depends(_services)]

_scheme = HTTPBearer(auto_error=False, scheme_name="token", description="A token of this service.")


def _caller(scope: Scope | None) -> Callable[..., Awaitable[Principal]]:
    """A dependency that admits tokens with `scope`; None: any valid token."""

    async def admit(request: Request, services: Shared, _: Annotated[object, Security(_scheme)]) -> Principal:
        address = request.client.host if request.client else "unknown"
        header = request.headers.get("authorization")
        principal = await services.doorman.admit(header, address, last_good=scope == "features")
        note(request.scope, token=principal.token_id)
        if scope is not None:
            principal.require(scope)
        return principal

    return admit


def caller_of(principal: Principal) -> features.Caller:
    """Whose bounds a request for features counts against."""
    return features.Caller(
        token=principal.token_id,
        name=principal.name,
        images=principal.images,
        pixels_per_second=principal.pixels_per_second,
    )


admit_feature_user = _caller("features")
Caller = Annotated[Principal, Depends(_caller(None))]
Reader = Annotated[Principal, Depends(_caller("read"))]
Submitter = Annotated[Principal, Depends(_caller("submit"))]
FeatureUser = Annotated[Principal, Depends(admit_feature_user)]
Admin = Annotated[Principal, Depends(_caller("admin"))]


async def wanted_page(
    page_size: Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)] = 50,
    page_token: Annotated[str | None, Query(max_length=500)] = None,
) -> Page:
    """What part of a list is wanted; `page_token` is the last answer's `next_page_token`."""
    return Page(page_size, page_token)


WantedPage = Annotated[Page, Depends(wanted_page)]

_WORD = Path(max_length=200, pattern=r"^[^\x00-\x1f]+$")
JobId = Annotated[str, _WORD]
"""Of a run, an evaluation, an export or a scan."""
Named = Annotated[str, _WORD]
"""A name, or an id, in a path; one that cannot exist is simply not found."""
Number = Annotated[int, Path(ge=1, lt=2**31)]
"""Of a version, from 1."""
