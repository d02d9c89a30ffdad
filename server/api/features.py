"""`POST /features`: images in, dense features out, in one call. Touches no table."""

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from detco_core.contract.errors import Fault, ImageError, InvalidDocument
from server.features.errors import ComputeFailed
from server.features.options import query_document, read_options, read_query
from server.features.replies.encode import MEDIA_TYPES, MediaType, encode, format_of, is_brief
from server.features.schemas import FeatureRequest
from server.http.access import note
from server.http.answers.compression import ZSTD, wished
from server.http.answers.negotiation import choose, listed
from server.http.answers.tensors import answer
from server.http.callers.hang_up import unless_gone
from server.http.deps import FeatureUser, Shared, admit_feature_user, caller_of, services_of
from server.http.errors.translations import from_feature, from_image
from server.http.openapi.features import FEATURES
from server.http.problems import Problem, document, request_id
from server.http.uploads.images import check_content_type, read_upload


class _Direct(APIRoute):
    """Gets what `features` asks for in its signature by itself: to read that anew for each request takes FastAPI
    0.3 ms, right after a network has run (docs/decisions/236).
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def handle(request: Request) -> Response:
            services = services_of(request)
            return await features(request, services, await admit_feature_user(request, services, None))

        return handle


router = APIRouter(tags=["features"], route_class=_Direct)


@router.post("/features", summary="Dense features of one image or several", response_class=Response, **FEATURES)
async def features(request: Request, services: Shared, caller: FeatureUser) -> Response:
    """Every level asked for, with its stride, and for every image how its pixels map to the network's.

    One image as the raw body with query parameters, or several as parts `image` of a multipart form; the form's part
    `request` then holds the same parameters as JSON.
    """
    engine = services.features
    if engine is None:
        raise Problem("unavailable", "this process serves the API only; ask the feature server")
    # What can be refused is refused before the body is read.
    media, coding = _media_type(request), wished(listed(request, "accept-encoding"), (ZSTD,))
    kind = check_content_type(request)
    query = request.scope["query_string"].decode("latin-1")
    options = read_query(query)
    engine.check(who := caller_of(caller), options.priority)
    upload = await read_upload(request, kind, engine.limits.images)
    asked = FeatureRequest(
        images=upload.images,
        options=read_options(_merged(query_document(query), upload.options)) if upload.options else options,
        format=format_of(media),
        only_models=caller.models,
        caller=who,
    )
    note(request.scope, images=len(asked.images), priority=asked.options.priority)
    reply = await unless_gone(request, engine.infer(asked))

    def describe(error: Exception) -> Mapping[str, Any]:
        return document(_problem(error), request_id(request.scope))

    return await answer(request, reply, partial(encode, reply, media, describe), coding, brief=is_brief(reply, media))


def _media_type(request: Request) -> MediaType:
    media = choose(listed(request, "accept"), MEDIA_TYPES)
    if media is None:
        raise Problem("not_acceptable", f"features come as {', '.join(MEDIA_TYPES)}; `Accept` takes none of them")
    return media


def _merged(query: dict[str, object], part: dict[str, object]) -> dict[str, object]:
    both = sorted(query.keys() & part.keys())
    if both:
        raise InvalidDocument("request", tuple(Fault(key, "is in the query and in the part request") for key in both))
    return query | part


def _problem(error: Exception) -> Problem:
    """What stands for an image's error in an answer that holds others' features."""
    if isinstance(error, ImageError):
        return from_image(error)
    return from_feature(error) if isinstance(error, ComputeFailed) else Problem("internal", str(error))
