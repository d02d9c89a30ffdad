"""The Python client of DetCo Server and the `detco` command."""

from detco_client.client import DetcoClient
from detco_client.errors import (
    ApiError,
    BadReply,
    Busy,
    CannotConnect,
    Changed,
    ClientError,
    Conflict,
    DigestMismatch,
    Forbidden,
    JobFailed,
    NotAuthenticated,
    NotFound,
    Refused,
    ServiceFailed,
    WaitTimeout,
)
from detco_client.extracted import ExtractedFeatures, ExtractedImage
from detco_client.features import FeaturesReply, ImageFeatures
from detco_client.stream import StreamEvent
from detco_client.webhooks import BadSignature, verify_webhook

__all__ = [
    "ApiError",
    "BadReply",
    "BadSignature",
    "Busy",
    "CannotConnect",
    "Changed",
    "ClientError",
    "Conflict",
    "DetcoClient",
    "DigestMismatch",
    "ExtractedFeatures",
    "ExtractedImage",
    "FeaturesReply",
    "Forbidden",
    "ImageFeatures",
    "JobFailed",
    "NotAuthenticated",
    "NotFound",
    "Refused",
    "ServiceFailed",
    "StreamEvent",
    "WaitTimeout",
    "verify_webhook",
]
