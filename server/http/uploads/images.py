"""Reads the body of a request for features: one raw image, or `multipart/form-data` with images and their options."""

import json
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from server.features.schemas import ImagePart
from server.http.problems import Problem
from server.http.uploads.forms import read_form

RAW_TYPES = ("image/jpeg", "image/png", "image/webp", "image/tiff", "application/x-npy")
MULTIPART = "multipart/form-data"

_MAX_OPTIONS = 2**18
"""Bytes of the `request` part: as many boxes as are taken, written out to the last digit."""


@dataclass(frozen=True, slots=True)
class Upload:
    """The images of a body, and the `request` part, parsed."""

    images: tuple[ImagePart, ...]
    options: dict[str, Any]


def check_content_type(request: Request) -> str:
    """The media type; raises `Problem` (415) for one that is not read, before the body is."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Problem("unsupported_media_type", f"send the body as it is, not in content encoding {encoding[:40]}")
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in (*RAW_TYPES, MULTIPART):
        sent = kind[:80] or "no content type"
        listed = ", ".join((*RAW_TYPES, MULTIPART))
        raise Problem("unsupported_media_type", f"an image was expected as one of {listed}; the request has {sent}")
    return kind


async def read_upload(request: Request, kind: str, max_images: int) -> Upload:
    """Read the body; its size is bounded by the middleware. Raises `Problem` for one that holds something else."""
    if kind != MULTIPART:
        return Upload((ImagePart(await request.body()),), {})
    async with read_form(request, files=max_images + 2, fields=8, field_bytes=_MAX_OPTIONS) as form:
        _check_names(form)
        return Upload(await _images(form, max_images), await _options(form))


def _check_names(form: FormData) -> None:
    unknown = sorted(set(form) - {"image", "request"})
    if unknown:
        raise Problem(
            "invalid_request", f"unknown part {unknown[0][:80]!r}; the parts are image, one or more, and request"
        )
    if len(form.getlist("request")) > 1:
        raise Problem("invalid_request", "there is more than one part request")


async def _images(form: FormData, most: int) -> tuple[ImagePart, ...]:
    parts = form.getlist("image")
    if not parts:
        raise Problem("invalid_request", "there is no part image; send one or more")
    if len(parts) > most:
        raise Problem("body_too_large", f"{len(parts)} images in one request; at most {most} are taken: send several")
    images = []
    for part in parts:
        if not isinstance(part, UploadFile):
            raise Problem("invalid_request", "a part image has no file name, so it was read as text; give it one")
        images.append(ImagePart(await part.read(), part.filename))
    return tuple(images)


async def _options(form: FormData) -> dict[str, Any]:
    part = form.get("request")
    if part is None:
        return {}
    text = part if isinstance(part, str) else await part.read(_MAX_OPTIONS + 1)
    if len(text) > _MAX_OPTIONS:
        raise Problem("body_too_large", f"the part request has more than {_MAX_OPTIONS} bytes")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Problem("malformed_json", f"the part request is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Problem("invalid_request", "the part request must be a JSON object")
    return document
