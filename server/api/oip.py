"""`/v2`: the Open Inference Protocol over HTTP, as KServe's and Triton's clients speak it. Touches no table."""

import asyncio
import json
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.responses import Response

from server.features.errors import BadTensor
from server.features.models.selector import DEFAULT_ALIAS
from server.features.oip.neighbours import Neighbour
from server.features.oip.replies import copied, lay_out
from server.features.oip.requests import LENGTH_HEADER, read_request
from server.features.oip.service import OpenInference
from server.features.oip.targets import Target
from server.http.access import note
from server.http.answers.compression import ENCODINGS, decompress, wished
from server.http.answers.negotiation import listed
from server.http.answers.tensors import TensorResponse, answer
from server.http.callers.hang_up import unless_gone
from server.http.deps import Admin, FeatureUser, Services, Shared, caller_of
from server.http.errors.allowed import METHODS, allowed_methods
from server.http.open_inference import LOAD_SECONDS, refuse_configuration, require_ready
from server.http.problems import OPEN_INFERENCE, Problem

router = APIRouter(prefix=OPEN_INFERENCE, tags=["open inference"])


async def _protocol(_: FeatureUser, services: Shared) -> OpenInference:
    """Who may not ask learns nothing about what there is."""
    if services.protocol is None:
        raise Problem("unavailable", "this process serves the API only; ask the feature server")
    return services.protocol


async def _target(protocol: "Protocol", name: str, version: str | None = None) -> Target:
    return protocol.target(name, version)


Protocol = Annotated[OpenInference, Depends(_protocol)]
Named = Annotated[Target, Depends(_target)]


@router.get("/health/live", summary="The process answers")
async def live() -> dict[str, bool]:
    """No token is needed."""
    return {"live": True}


@router.get("/health/ready", summary="Every promoted model answers")
async def ready(services: Shared) -> dict[str, bool]:
    """No token is needed. 503 otherwise."""
    await require_ready(services)
    return {"ready": True}


@router.get("", summary="The server and the extensions it has")
async def server(_: FeatureUser, protocol: Protocol) -> dict[str, Any]:
    """Of the Open Inference Protocol, version 2."""
    return protocol.metadata_of_server()


@router.get("/models/stats", summary="Statistics of all models")
async def all_statistics(caller: FeatureUser, protocol: Protocol) -> dict[str, Any]:
    """Of every version that the alias `production` names."""
    return {"model_stats": await protocol.all_statistics(caller.models)}


@router.get("/models/{name}", summary="Inputs and outputs of a model")
@router.get("/models/{name}/versions/{version}", summary="Inputs and outputs of a version")
async def metadata(target: Named, caller: FeatureUser, protocol: Protocol) -> dict[str, Any]:
    """`NAME` takes encoded pictures, `NAME_tensor` pixels; -1 is any size."""
    return await protocol.metadata(target, caller.models)


@router.get("/models/{name}/ready", summary="Whether a model answers")
@router.get("/models/{name}/versions/{version}/ready", summary="Whether a version answers")
async def model_ready(target: Named, caller: FeatureUser, protocol: Protocol) -> dict[str, Any]:
    """503 while it does not, 404 when there is no such model."""
    if protocol.repository.is_unknown(target, caller.models):
        raise Problem("not_found", f"there is no model {target.name[:100]}: its alias {DEFAULT_ALIAS} names no version")
    if not protocol.repository.is_ready(target, caller.models):
        raise Problem("unavailable", f"the model {target.name[:100]} is not ready")
    return {"name": target.name, "ready": True}


@router.get("/models/{name}/config", summary="A model in Triton's form")
@router.get("/models/{name}/versions/{version}/config", summary="A version in Triton's form")
async def config(target: Named, caller: FeatureUser, protocol: Protocol) -> dict[str, Any]:
    """The same as its metadata."""
    return await protocol.config(target, caller.models)


@router.get("/models/{name}/stats", summary="Statistics of a model")
@router.get("/models/{name}/versions/{version}/stats", summary="Statistics of a version")
async def statistics(target: Named, caller: FeatureUser, protocol: Protocol) -> dict[str, Any]:
    """Requests and nanoseconds by stage, since this server started."""
    return {"model_stats": [await protocol.statistics_of(target, caller.models)]}


@router.post("/models/{name}/infer", summary="Run a model", response_class=Response)
@router.post("/models/{name}/versions/{version}/infer", summary="Run a version", response_class=Response)
async def infer(
    target: Named, request: Request, caller: FeatureUser, services: Shared, protocol: Protocol
) -> TensorResponse:
    """Tensors as JSON or as binary data, both ways; `Inference-Header-Content-Length` measures the JSON."""
    protocol.check(who := caller_of(caller))
    coding = wished(listed(request, "accept-encoding"), tuple(ENCODINGS))
    body = await _body(request, services)
    memory = _neighbour(request, protocol)
    header = request.headers.get(LENGTH_HEADER)
    asked = await asyncio.to_thread(read_request, body, header, memory.read)
    del body
    inferred, reply = await unless_gone(request, protocol.infer(target, asked, caller.models, who))
    note(request.scope, images=len(reply.images))
    made = partial(lay_out, asked, inferred, memory.write)
    return await answer(request, reply, made, coding, copied=partial(copied, asked, inferred))


@router.post("/repository/index", summary="Every model and how it is")
async def index(request: Request, caller: FeatureUser, protocol: Protocol) -> JSONResponse:
    """`{"ready": true}` leaves out those that do not answer."""
    document = await _document(request)
    return JSONResponse(protocol.repository.index(caller.models, ready=document.get("ready") is True))


@router.post("/repository/models/{name}/load", summary="Load a model", response_class=Response)
async def load(target: Named, request: Request, caller: Admin, protocol: Protocol) -> Response:
    """Has what its alias `production` names loaded and warm. Configurations and files are not taken."""
    refuse_configuration(await _parameters(request))
    await run_in_threadpool(protocol.repository.load, target, LOAD_SECONDS)
    return Response()


@router.post("/repository/models/{name}/unload", summary="Let go of a model", response_class=Response)
async def unload(target: Named, request: Request, caller: Admin, protocol: Protocol) -> Response:
    """On this server, until it is loaded or promoted again."""
    await _parameters(request)
    await run_in_threadpool(protocol.repository.unload, target)
    return Response()


@router.get("/systemsharedmemory/status", summary="Regions of shared memory")
@router.get("/systemsharedmemory/region/{region}/status", summary="A region of shared memory")
def region_status(caller: FeatureUser, request: Request, protocol: Protocol, region: str | None = None) -> JSONResponse:
    """All that are registered, or one."""
    return JSONResponse(_neighbour(request, protocol).regions.status(region))


@router.post("/systemsharedmemory/region/{region}/register", summary="Register a region", response_class=Response)
async def register(region: str, caller: FeatureUser, request: Request, protocol: Protocol) -> Response:
    """`{"key", "offset", "byte_size"}` of a POSIX shared memory object the client made."""
    regions = _neighbour(request, protocol).regions
    document = await _document(request)
    regions.register(region, document.get("key"), document.get("offset", 0), document.get("byte_size"))
    return Response()


@router.post("/systemsharedmemory/unregister", summary="Forget all regions", response_class=Response)
@router.post("/systemsharedmemory/region/{region}/unregister", summary="Forget a region", response_class=Response)
def unregister(caller: FeatureUser, request: Request, protocol: Protocol, region: str | None = None) -> Response:
    """One that is not registered is no error."""
    _neighbour(request, protocol).regions.unregister(region)
    return Response()


@router.api_route("/{rest:path}", methods=[*METHODS], include_in_schema=False)
async def unknown(rest: str, request: Request) -> Response:
    """What no other route of the protocol takes."""
    what = f"{OPEN_INFERENCE}/{rest[:200]}"
    if allowed := ", ".join(allowed_methods(router.routes[:-1], request.url.path)):
        raise Problem("method_not_allowed", f"{what} takes {allowed}", headers={"Allow": allowed})
    raise Problem("not_found", f"there is no {what} here")


def _neighbour(request: Request, protocol: OpenInference) -> Neighbour:
    return protocol.neighbour(request.client.host if request.client else "")


async def _body(request: Request, services: Services) -> bytes:
    encoding = request.headers.get("content-encoding", "").strip().lower()
    body = await request.body()
    return await asyncio.to_thread(decompress, body, encoding, services.settings.max_request_bytes)


async def _document(request: Request) -> dict[str, Any]:
    body = await request.body()
    if not body.strip():
        return {}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadTensor(f"the body is not JSON: {str(error)[:200]}") from error
    if not isinstance(document, dict):
        raise BadTensor("the body must be a JSON object")
    return document


async def _parameters(request: Request) -> set[str]:
    parameters = (await _document(request)).get("parameters", {})
    if not isinstance(parameters, dict):
        raise BadTensor("parameters must be an object")
    return set(map(str, parameters))
