"""From a request of the protocol to one of the feature engine: the only place that judges inputs against a model."""

import json
from collections.abc import Collection, Sequence
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detco_core.contract.manifest import Manifest
from detco_core.inference.sessions.session import POOLED
from server.features.errors import BadTensor
from server.features.models.loaded import Loaded
from server.features.oip.description import PIXEL_TYPES, outputs_of
from server.features.oip.requests import InferRequest
from server.features.oip.targets import IMAGE, PIXELS, Target
from server.features.oip.tensors import WireTensor
from server.features.options import MAX_TIMEOUT_MS, read_options
from server.features.schemas import FeatureRequest, ImagePart

_OPTIONS = ("dtype", "normalize", "orientation", "resize")
"""Request parameters that mean what they mean at `/features`; others of the protocol's own are left alone."""


def asked_of(target: Target, request: InferRequest, loaded: Loaded, only: Collection[str] | None) -> FeatureRequest:
    """The engine's request for a request of the protocol."""
    manifest = loaded.manifest
    images = _pictures(request) if target.takes == IMAGE else _pixels(request, manifest)
    known = [name for name, _, _ in outputs_of(manifest)]
    names = known if request.outputs is None else [wish.name for wish in request.outputs]
    for name in names:
        if name not in known:
            raise BadTensor(f"{target.name} has no output {name[:100]!r}; its outputs are {', '.join(known)}")
    options: dict[str, Any] = {key: request.parameters[key] for key in _OPTIONS if key in request.parameters}
    if isinstance(options.get("resize"), str) and options["resize"] != "none":
        options["resize"] = _resize(options["resize"])
    options |= {"priority": "bulk"} if _is_bulk(request.parameters.get("priority")) else {}
    options |= _time(request.parameters.get("timeout", 0))
    if options.get("dtype") == "int8":
        # One scale is for all pictures of an output: `replies` casts them once they are stacked.
        options["dtype"] = "float32"
    levels = [name for name in names if name != POOLED]
    # This very version, should the alias move meanwhile.
    options |= {"model": str(loaded.version), "levels": levels or None}
    return FeatureRequest(
        images=tuple(ImagePart(image) for image in images),
        options=read_options(options),
        only_models=only,
        pooled=POOLED in names,
        maps=bool(levels),
    )


def _time(timeout: object) -> dict[str, int]:
    """`timeout` is in microseconds; 0 is none of the request's own."""
    if type(timeout) is not int or not 0 <= timeout <= 1000 * MAX_TIMEOUT_MS:
        raise BadTensor(f"the parameter timeout must be microseconds, 0..{1000 * MAX_TIMEOUT_MS}")
    return {"timeout_ms": ceil(timeout / 1000)} if timeout else {}  # never sooner than asked for


def _is_bulk(priority: object) -> bool:
    """By name as at `/features`, or by Triton's numbers: 1 is the highest, 0 the default."""
    if priority not in (None, "interactive", "bulk") and type(priority) is not int:
        raise BadTensor('the parameter priority must be "interactive", "bulk" or a number')
    return priority == "bulk" or (type(priority) is int and priority > 1)


def _pictures(request: InferRequest) -> Sequence[bytes]:
    if request.raw is not None:
        return [request.raw]
    tensor = _only_input(request, IMAGE)
    if not isinstance(tensor.values, list) or len(tensor.shape) not in (1, 2) or tensor.shape[1:] not in ((), (1,)):
        raise BadTensor(
            f"{IMAGE} takes BYTES of shape [N]: encoded pictures; got {tensor.datatype} {list(tensor.shape)}"
        )
    if not tensor.values:
        raise BadTensor(f"{IMAGE} holds no picture")
    return tensor.values


def _pixels(request: InferRequest, manifest: Manifest) -> Sequence[NDArray[Any]]:
    if request.raw is not None:
        raise BadTensor(f"{PIXELS} has no shape in a raw request: send JSON with it, or the picture to the other model")
    tensor, spec = _only_input(request, PIXELS), manifest.input
    types = PIXEL_TYPES[spec.bit_depth]
    fits = len(tensor.shape) == 4 and tensor.shape[1] == spec.channels and 0 not in tensor.shape
    if tensor.datatype not in types or not fits:
        raise BadTensor(
            f"{PIXELS} takes {' or '.join(types)} of shape [N, {spec.channels}, H, W]: pixel values of "
            f"0..{2**spec.bit_depth - 1}; got {tensor.datatype} {list(tensor.shape)}"
        )
    return [np.asarray(image) for image in tensor.values]


def _only_input(request: InferRequest, name: str) -> WireTensor:
    if len(request.inputs) != 1 or request.inputs[0].name != name:
        given = ", ".join(tensor.name for tensor in request.inputs)
        raise BadTensor(f"the model has one input, {name}; the request gives {given[:200]}")
    return request.inputs[0]


def _resize(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadTensor('the parameter resize must be "none" or JSON, such as {"short_side": 800}') from error
