"""Quotas of tokens: what one may have at once."""

from fastapi import APIRouter, BackgroundTasks, Request

from control import jobs
from control.records.access import audit, quotas
from control.records.access.quotas import Quota
from control.records.access.tokens import get_token
from server.http.deps import Admin, Named, Shared
from server.http.problems import request_id
from server.http.schemas.quotas import QuotaBody, QuotaView, quota_view

router = APIRouter(prefix="/tokens/{token}/quota", tags=["tokens"])


@router.get("", summary="What a token may have at once, and what it has")
def show(token: Named, _: Admin, services: Shared) -> QuotaView:
    """Runs, evaluations and exports that it asked for."""
    with services.look() as session:
        row = get_token(session, token)
        return quota_view(quotas.quota_of(row), quotas.usage(session, row.id))


@router.put("", summary="Change what a token may have at once")
def change(
    token: Named, body: QuotaBody, who: Admin, services: Shared, request: Request, tasks: BackgroundTasks
) -> QuotaView:
    """What is left out or null has no bound. Nothing that runs is stopped; what waits may begin."""
    tasks.add_task(jobs.relay, services.engine, services.celery)
    with services.work() as session:
        row = quotas.set_quota(session, token, Quota(**body.model_dump()))
        audit.note(session, who.name, "token.quota", row.id, body.model_dump(), request_id(request.scope))
        return quota_view(quotas.quota_of(row), quotas.usage(session, row.id))
