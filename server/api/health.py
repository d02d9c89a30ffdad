"""Whether the service lives and can do its work, and its metrics. No token is asked for."""

from collections.abc import Mapping

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool

from server import telemetry
from server.http.deps import Shared
from server.http.probes.readiness import api_checks, feature_checks, worker_checks
from server.http.schemas.service import Check, Readiness

router = APIRouter(tags=["health"])


@router.get("/livez", summary="Whether the process answers")
async def livez() -> dict[str, str]:
    """Always `{"status": "alive"}`: it says nothing about database, broker, store or models."""
    return {"status": "alive"}


@router.get("/readyz", summary="Whether every part can do its work", responses={503: {"model": Readiness}})
async def readyz(services: Shared, response: Response) -> Readiness:
    """Database, migrations, workers and feature path, as far as this process serves them; 503 when one is not ready."""
    checks = dict(await feature_checks(services))
    if services.serves_api:
        of_api = await run_in_threadpool(api_checks, services)
        checks |= of_api
        if of_api["database"].ok:
            checks |= await run_in_threadpool(worker_checks, services)
    return _answer(checks, response)


@router.get(
    "/readyz/api", summary="Whether requests to the records can be served", responses={503: {"model": Readiness}}
)
async def readyz_api(services: Shared, response: Response) -> Readiness:
    """The database answers and its schema is at head."""
    return _answer(await run_in_threadpool(api_checks, services), response)


@router.get("/readyz/features", summary="Whether images can be served", responses={503: {"model": Readiness}})
async def readyz_features(services: Shared, response: Response) -> Readiness:
    """Every promoted model is loaded, or known not to load; true also when none is promoted yet."""
    return _answer(await feature_checks(services), response)


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def metrics(services: Shared) -> Response:
    """Requests, streams, jobs by state, and the feature path, in Prometheus' text format."""
    text = await run_in_threadpool(services.telemetry.exposition)
    return Response(text, media_type=telemetry.CONTENT_TYPE)


def _answer(checks: Mapping[str, Check], response: Response) -> Readiness:
    ready = all(check.ok for check in checks.values())
    response.status_code = 200 if ready else 503
    return Readiness(ready=ready, checks=dict(checks))
