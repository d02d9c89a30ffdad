"""Foreign weights: bring a file in, see what its check found, delete it."""

from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy.orm import Session

from control.records.models import weights
from control.records.models.weights import NewWeights
from server.http.changes.creation import Created, Posted, create
from server.http.changes.deletion import DryRun, note_deletion
from server.http.deps import Named, Reader, Shared, Submitter, WantedPage
from server.http.schemas.base import Page
from server.http.schemas.keeping import RemovalView, removal_view
from server.http.schemas.weights import WeightsRequest, WeightsView, weights_view

router = APIRouter(prefix="/weights", tags=["weights"])


@router.post("", status_code=202, response_model=WeightsView, summary="Bring in weights trained elsewhere")
def add(body: WeightsRequest, posted: Posted) -> Any:
    """The place is checked at once, the file by a job that loads it as plain tensors and holds it against the named
    architecture; what names the weights meanwhile waits for that job.
    """
    new = NewWeights(**body.model_dump(), actor=posted.who.name)

    def make(session: Session) -> Created:
        made = weights.add_weights(session, new, posted.services.settings.resolved_dataset_roots)
        posted.note(session, "weights.add", made.id)
        return Created(f"/v1/weights/{made.id}", weights_view(made))

    return create(posted, body, make)


@router.get("", summary="List imported weights, newest first")
def list_all(_: Reader, services: Shared, page: WantedPage) -> Page[WeightsView]:
    with services.look() as session:
        found = weights.list_weights(session, page)
        return Page(items=[weights_view(row) for row in found.items], next_page_token=found.next_page_token)


@router.get("/{weights_id}", summary="Show imported weights")
def show(weights_id: Named, _: Reader, services: Shared) -> WeightsView:
    """By id or name: `state` is `checking`, `ready` or `failed`; the key report and the digest once they are ready."""
    with services.look() as session:
        return weights_view(weights.get_weights(session, weights_id))


@router.delete("/{weights_id}", summary="Delete imported weights")
def delete(
    weights_id: Named,
    who: Submitter,
    services: Shared,
    request: Request,
    dry_run: DryRun = False,
) -> RemovalView:
    """409 with `holders` while jobs that have not ended need them; what was made from them stays and is named."""
    with services.work() as session:
        removed = weights.delete_weights(session, weights_id, who.name, dry_run=dry_run)
        note_deletion(session, who, request, "weights.delete", removed, dry_run=dry_run)
    return removal_view(removed, dry_run=dry_run)
