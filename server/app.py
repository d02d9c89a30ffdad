"""Puts the application together: the services it shares, the routes, and what surrounds them."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Literal

from fastapi import APIRouter, FastAPI
from fastapi.concurrency import run_in_threadpool

from control.bus import open_bus
from control.db.session import open_engine
from control.jobs import make_celery
from control.reading import ReadingRoom
from control.settings import Settings
from control.storage.cache import Cache
from control.storage.open import open_store
from detco_core import __version__
from server.api import (
    aliases,
    audit,
    checkpoints,
    datasets,
    deletions,
    evaluations,
    extractions,
    features,
    forks,
    health,
    info,
    jobs,
    metrics,
    models,
    oip,
    quotas,
    runs,
    steering,
    store,
    sweeps,
    tokens,
    uploads,
    usage,
    webhooks,
    weights,
    workers,
)
from server.features.oip.service import OpenInference
from server.features.oip.shared_memory import SharedMemory
from server.features.open import open_features
from server.http.access import open_access_log
from server.http.answers.conditional import Conditional
from server.http.answers.head import Head
from server.http.callers.auth import Doorman
from server.http.callers.known_tokens import KnownTokens
from server.http.callers.rechecks import Rechecks
from server.http.callers.streams import Streams
from server.http.deps import Services
from server.http.errors import handlers
from server.http.jobs.job_kinds import EVALUATION, EXPORT, EXTRACTION, RUN
from server.http.middleware.bodies import DOCUMENT_BYTES, BodyLimit
from server.http.middleware.context import RequestContext
from server.http.middleware.tracing import open_tracing
from server.http.openapi.operations import PROBLEMS, describe
from server.http.probes.readings import watch
from server.rpc.open import Door, open_door
from server.telemetry import Telemetry

_UPLOADS = "/v1/uploads/"
"""What is below takes bodies of any kind, to disk."""
Part = Literal["api", "features"]

_DESCRIPTION = """Self-supervised pretraining for detection (DetCo) as a service.

Send a token of the service as `Authorization: Bearer TOKEN`. Every error is a problem document (RFC 9457)."""


def make_app(settings: Settings, parts: Iterable[Part] = ("api", "features")) -> FastAPI:
    """The application that serves these parts; health is in each. Nothing is opened on the network yet."""
    serving = frozenset(parts)
    services = _open(settings, serving)
    app = FastAPI(
        title="DetCo Server",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=_lifespan,
        redirect_slashes=False,
        responses=PROBLEMS,
    )
    app.state.services = services
    handlers.install(app)
    app.include_router(health.router)
    # Routes are tried in order: those that are called most come first.
    if "features" in serving:
        app.include_router(features.router)
        app.include_router(features.router, prefix="/v1")
        app.include_router(oip.router)
    if "api" in serving:
        app.include_router(_api())
    watch(services)
    describe(app)
    app.add_middleware(Conditional)
    app.add_middleware(Head)
    told = services.telemetry.not_answered
    app.add_middleware(BodyLimit, limit_of=_limit_of(settings), is_held=_holds_images, refused=told)
    access, tracing = open_access_log(settings.access_log), open_tracing()
    app.state.closing = (tracing.close, access.close)
    app.state.door = open_door(services, access, tracing)
    app.add_middleware(RequestContext, telemetry=services.telemetry, access=access, tracing=tracing)
    return app


def _open(settings: Settings, serving: frozenset[Part]) -> Services:
    engine = open_engine(settings.resolved_database_url)
    store = open_store(settings)
    telemetry = Telemetry()
    # The API alone never needs them, and must not write over what a feature server of the same folder keeps.
    known = KnownTokens(settings.data_dir / "serving" / "tokens.json" if "features" in serving else None)
    features = open_features(settings, engine, store, telemetry) if "features" in serving else None
    regions = SharedMemory() if settings.shared_memory else None
    return Services(
        settings=settings,
        engine=engine,
        store=store,
        reading=ReadingRoom(engine, store, Cache(settings.data_dir / "cache", settings.cache_bytes, store)),
        bus=open_bus(settings),
        celery=make_celery(settings),
        telemetry=telemetry,
        doorman=Doorman(engine, known, telemetry),
        rechecks=Rechecks(engine, known),
        streams=Streams(),
        features=features,
        protocol=None if features is None else OpenInference(features, regions),
        serves_api="api" in serving,
    )


def _api() -> APIRouter:
    router = APIRouter(prefix="/v1")
    # Before the job routes, whose paths are longer, and `/evaluations/compare` before `/evaluations/{job}`.
    for resource in (
        info,
        uploads,
        datasets,
        weights,
        runs,
        checkpoints,
        metrics,
        forks,
        steering,
        evaluations,
        extractions,
        sweeps,
        models,
        aliases,
        deletions,
        store,
        tokens,
        quotas,
        usage,
        webhooks,
        workers,
        audit,
    ):
        router.include_router(resource.router)
    for kind in (RUN, EVALUATION, EXTRACTION, EXPORT):
        router.include_router(jobs.job_routes(kind))
    return router


def _holds_images(path: str) -> bool:
    return path.endswith(("/features", "/infer"))


def _limit_of(settings: Settings) -> Callable[[str], int]:
    def limit(path: str) -> int:
        if path.startswith(_UPLOADS):
            return settings.max_upload_bytes
        return settings.max_request_bytes if _holds_images(path) else DOCUMENT_BYTES

    return limit


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    door: Door | None = app.state.door
    try:
        if services.features is not None:
            services.rechecks.start()
            services.features.start()
        if door is not None:
            await door.start()
        yield
    finally:
        if door is not None:
            await door.stop()
        if services.features is not None:
            await run_in_threadpool(services.features.close)
            await run_in_threadpool(services.rechecks.close)
        services.bus.close()
        services.engine.dispose()
        for close in app.state.closing:
            await run_in_threadpool(close)
