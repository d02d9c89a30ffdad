"""Data sets: register a folder, make versions of it, see what a scan found."""

from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy.orm import Session

from control.records import audit, datasets
from control.records.datasets import NewDataset, Scan
from control.records.principals import Principal
from server.http.creation import Created, IdempotencyKey, create
from server.http.deps import Named, Number, Reader, Shared, Submitter, WantedPage
from server.http.problems import request_id
from server.http.schemas.base import Page
from server.http.schemas.datasets import (
    DatasetRequest,
    DatasetView,
    RescanRequest,
    VersionView,
    dataset_view,
    version_view,
)
from server.http.views import shown_dataset

router = APIRouter(prefix="/datasets", tags=["datasets"])


@router.post("", status_code=202, response_model=DatasetView, summary="Register a folder as a data set")
def register(
    body: DatasetRequest, who: Submitter, services: Shared, request: Request, key: IdempotencyKey = None
) -> Any:
    """Root and layout are checked at once, the images by a job; runs that name the data set wait for that job."""
    new = NewDataset(**body.model_dump(exclude={"splits"}), splits=body.splits or {}, actor=who.name)

    def make(session: Session) -> Created:
        scan = datasets.add_dataset(session, new, services.settings.resolved_dataset_roots)
        _note(session, who, request, scan)
        return Created(f"/v1/datasets/{body.name}", dataset_view(scan.dataset, scan.version))

    return create(services, who, request, body, key, make)


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
def rescan(
    name: Named,
    body: RescanRequest,
    who: Submitter,
    services: Shared,
    request: Request,
    key: IdempotencyKey = None,
) -> Any:
    """A new version: the folder as it is now, without what `exclude` names. Older versions stay as they are."""

    def make(session: Session) -> Created:
        roots = services.settings.resolved_dataset_roots
        scan = datasets.add_version(session, name, body.exclude, who.name, roots)
        _note(session, who, request, scan)
        return Created(f"/v1/datasets/{name}/versions/{scan.version.number}", version_view(scan.version))

    return create(services, who, request, body, key, make)


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


def _note(session: Session, who: Principal, request: Request, scan: Scan) -> None:
    audit.note(session, who.name, "dataset.scan", scan.version.ref, request_id=request_id(request.scope))
