"""What the artifact store holds, and what is in it for nobody."""

from datetime import timedelta

from fastapi import APIRouter, Request

from control import collector
from control.records.access import audit
from control.records.store import objects
from server.http.changes.deletion import DryRun
from server.http.deps import Admin, Shared
from server.http.problems import request_id
from server.http.schemas.keeping import Held, OrphansView, StoreView, damage_view

router = APIRouter(prefix="/store", tags=["store"])


@router.get("", summary="What the artifact store holds")
def show(_: Admin, services: Shared) -> StoreView:
    """As the tables know it: bytes kept, bytes on their way out, and what a reader found damaged."""
    with services.look() as session:
        totals = objects.totals(session)
        damaged = [damage_view(row, objects.needed_by(session, row.key)) for row in objects.list_damaged(session)]
    going = [totals.get(state, (0, 0)) for state in ("doomed", "removing")]
    return StoreView(
        stored=Held(count=totals.get("stored", (0, 0))[0], bytes=totals.get("stored", (0, 0))[1]),
        going=Held(count=sum(count for count, _ in going), bytes=sum(size for _, size in going)),
        damaged=damaged,
    )


@router.post("/sweep", summary="Delete what is in the store and in no table")
def sweep(who: Admin, services: Shared, request: Request, dry_run: DryRun = False) -> OrphansView:
    """Objects older than `DETCO_ORPHAN_HOURS` that no row needs; the leading worker does so once a day by itself."""
    hours = services.settings.orphan_hours
    do = collector.find_orphans if dry_run else collector.sweep_orphans
    found = do(services.engine, services.store, timedelta(hours=hours))
    if not dry_run:
        with services.work() as session:
            details = {"count": found.count, "bytes": found.bytes}
            audit.note(session, who.name, "store.sweep", "store", details, request_id=request_id(request.scope))
    return OrphansView(dry_run=dry_run, older_than_hours=hours, count=found.count, bytes=found.bytes)
