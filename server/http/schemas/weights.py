"""Imported weights: what is posted, what its check found."""

from typing import Any

from pydantic import Field

from control.db.models import Weights
from detco_core.contract.config.views import MAX_CHANNELS
from detco_core.contract.weights import WeightsFormat
from server.http.schemas.base import Body, Name, Resource, Text, View
from server.http.schemas.datasets import Uri
from server.http.schemas.models import FileView


class WeightsRequest(Body):
    """A file of foreign weights, and the backbone it is to hold."""

    uri: Uri
    """An absolute path or `file://...` that every worker sees, inside the allowed roots; `s3://BUCKET/KEY` in one; or
    `upload:ID`."""
    architecture: Text
    """torchvision's name, e.g. `resnet50`, or `timm/NAME`; a file that is not that is refused."""
    name: Name | None = None
    """To find them by; the newest of a name is meant."""
    format: WeightsFormat | None = None
    """Recognised by the keys when it is left out."""
    channels: int = Field(default=3, ge=1, le=MAX_CHANNELS)
    """Of the images they take."""
    license: Text | None = None
    strict: bool = True
    """Refuse a file that lacks keys of the backbone; else take what there is and say what is missing."""


class KeyReportView(View):
    """Names of tensors: of the first two ours, of `unexpected` ones the file's."""

    matched: list[str]
    missing: list[str]
    unexpected: list[str]
    """In the file and no part of the backbone: classifier, heads, queues."""


class WeightsView(Resource):
    """Weights brought in from outside; the fields from `digest` on are null until they are ready."""

    name: str | None
    uri: str
    """As it was given."""
    architecture: str
    format: str | None
    """As it was asked for; once they are ready, as it was found."""
    license: str | None
    state: str
    """`checking`, `ready` or `failed`."""
    reason: str | None
    job: str | None
    """Id of the import; its events and cancel are those of a run."""
    digest: str | None
    """Of the tensors: equal weights, equal digest, also a model version's `weights_digest`."""
    file: FileView | None
    """The tensors by our names, as the service keeps them."""
    report: KeyReportView | None


def weights_view(row: Weights) -> WeightsView:
    same = (
        *("id", "created_at", "created_by", "name", "uri", "architecture", "format", "license", "state", "reason"),
        "digest",
    )
    file: dict[str, Any] | None = None
    if row.file_digest is not None:
        file = {"bytes": row.file_bytes, "sha256": row.file_digest}
    own = {"job": row.run_id, "file": file, "report": row.key_report}
    return WeightsView.model_validate({field: getattr(row, field) for field in same} | own)
