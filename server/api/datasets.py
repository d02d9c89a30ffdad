"""Data sets: register a folder, make versions of it, see what a scan found."""

from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy.orm import Session

from control.records.datasets import dataset_usage, datasets
from control.records.datasets.datasets import NewDataset
from control.records.datasets.deleting_datasets import delete_dataset, delete_version
from server.http.changes.creation import Created, Posted, create
from server.http.changes.deletion import DryRun, note_deletion
from server.http.deps import Named, Number, Reader, Shared, Submitter, WantedPage
from server.http.schemas.base import Page
from server.http.schemas.datasets import (
    DatasetRequest,
    DatasetView,
    RescanRequest,
    UsageView,
    VersionView,
    dataset_view,
    usage_view,
    version_view,
)
from server.http.schemas.keeping import RemovalView, removal_view
from server.http.views import shown_dataset

router = APIRouter(prefix="/datasets", tags=["datasets"])


@router.post("", status_code=202, response_model=DatasetView, summary="Register a folder as a data set")
def register(body: DatasetRequest, posted: Posted) -> Any:
    """Root and layout are checked at once, the images by a job; runs that name the data set wait for that job."""
    new = NewDataset(**body.model_dump(exclude={"splits"}), splits=body.splits or {}, actor=posted.who.name)

    def make(session: Session) -> Created:
        scan = datasets.add_dataset(session, new, posted.services.settings.resolved_dataset_roots)
        posted.note(session, "dataset.scan", scan.version.ref)
        return Created(f"/v1/datasets/{body.name}", dataset_view(scan.dataset, scan.version))

    return create(posted, body, make)


@router.get("", summary="List data sets, newest first")
def list_all(_: Reader, services: Shared, page: WantedPage) -> Page[DatasetView]:
    """Each as its newest version is."""
    with services.look() as session:
        found = datasets.list_datasets(session, page)
        items = [shown_dataset(session, row) for row in found.items]
        return Page(items=items, next_page_token=found.next_page_token)


@router.get("/{name}", summary="Show a data set as its newest version is")
def show(name: Named, _: Reader, services: Shared) -> DatasetView:
    """`state` is `scanning`, `ready` or `failed`; counts, sizes and every broken file once the scan is done."""
    with services.look() as session:
        return shown_dataset(session, datasets.get_dataset(session, name))


@router.post("/{name}/versions", status_code=202, response_model=VersionView, summary="Scan a data set again")
def rescan(name: Named, body: RescanRequest, posted: Posted) -> Any:
    """A new version: the folder as it is now, without what `exclude` names. Older versions stay as they are."""

    def make(session: Session) -> Created:
        roots = posted.services.settings.resolved_dataset_roots
        scan = datasets.add_version(session, name, body.exclude, posted.who.name, roots)
        posted.note(session, "dataset.scan", scan.version.ref)
        return Created(f"/v1/datasets/{name}/versions/{scan.version.number}", version_view(scan.version))

    return create(posted, body, make)


@router.get("/{name}/versions", summary="List the versions of a data set, newest first")
def versions(name: Named, _: Reader, services: Shared, page: WantedPage) -> Page[VersionView]:
    with services.look() as session:
        found = datasets.page_versions(session, name, page)
        return Page(items=[version_view(row) for row in found.items], next_page_token=found.next_page_token)


@router.get("/{name}/versions/{number}", summary="Show a version of a data set")
def version(name: Named, number: Number, _: Reader, services: Shared) -> VersionView:
    """An immutable list of files, with the digest that runs and evaluations record."""
    with services.look() as session:
        return version_view(datasets.get_version(session, name, number))


@router.get("/{name}/usage", summary="Show what uses a data set")
def usage(name: Named, _: Reader, services: Shared) -> UsageView:
    """Jobs on its versions, or whose monitor evaluates on one; models that came of it; bytes kept because of it."""
    with services.look() as session:
        return usage_view(name, dataset_usage.usage(session, name))


@router.delete("/{name}", summary="Delete a data set with all of its versions")
def delete(name: Named, who: Submitter, services: Shared, request: Request, dry_run: DryRun = False) -> RemovalView:
    """With manifests, reports of scans, images that runs kept of it, and what was uploaded for it. Files under the data
    set roots are never touched. 409 with `holders`: jobs that have not ended and read it, or whose monitor does.
    """
    with services.work() as session:
        removed = delete_dataset(session, name, who.name, dry_run=dry_run)
        note_deletion(session, who, request, "dataset.delete", removed, dry_run=dry_run)
    return removal_view(removed, dry_run=dry_run)


@router.delete("/{name}/versions/{number}", summary="Delete a version of a data set")
def delete_one(
    name: Named, number: Number, who: Submitter, services: Shared, request: Request, dry_run: DryRun = False
) -> RemovalView:
    """As the whole data set; its number is not given again. The only version goes with the data set."""
    with services.work() as session:
        removed = delete_version(session, name, number, who.name, dry_run=dry_run)
        note_deletion(session, who, request, "dataset.delete", removed, dry_run=dry_run)
    return removal_view(removed, dry_run=dry_run)
