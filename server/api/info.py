"""What the service is and what it takes."""

from fastapi import APIRouter

from control.records.store.roots import ACCEPTED_KINDS
from detco_core import __version__
from detco_core.contract.evaluations import TASKS
from detco_core.contract.manifest import EXPORT_FORMATS
from detco_core.contract.presets import PRESETS
from server.http.deps import Caller, Shared
from server.http.middleware.bodies import DOCUMENT_BYTES
from server.http.schemas.service import Info, Limits

router = APIRouter(tags=["service"])

MINIMUM_CLIENT = "0.1.0"
"""The oldest client this service understands; raised when a change of the interface breaks it."""


@router.get("/info", summary="What the service is and what it takes")
def info(_: Caller, services: Shared) -> Info:
    """Version, limits, formats, presets, tasks and the default model. Any valid token may ask."""
    settings = services.settings
    return Info(
        version=__version__,
        minimum_client=MINIMUM_CLIENT,
        limits=Limits(
            bytes=settings.max_request_bytes,
            document_bytes=DOCUMENT_BYTES,
            pixels=settings.max_image_pixels,
            images=settings.max_images,
            boxes=settings.max_boxes,
        ),
        formats=list(EXPORT_FORMATS),
        presets=list(PRESETS),
        tasks=list(TASKS),
        dataset_kinds=list(ACCEPTED_KINDS),
        default_model=settings.default_model,
        embedded=settings.embedded,
    )
