"""Lays an answer out in the format asked for.

`application/octet-stream` is the layout of the Open Inference Protocol's binary extension: JSON of as many bytes as the
header `Inference-Header-Content-Length` says, then every tensor's little-endian data back to back, in the order of
`outputs`, never padded. In this and in both kinds of archive tensors are sent from where they lie, not copied.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from server.features.errors import ReplyTooLarge
from server.features.replies import tensor_files
from server.features.replies.encoded import Encoded
from server.features.replies.tensor_files import raw
from server.features.schemas import FeatureReply, Format, ImageFacts, ImageReply, Tensor, Timings

MediaType = Literal["application/octet-stream", "application/x-npz", "application/x-safetensors", "application/json"]
MEDIA_TYPES: tuple[MediaType, ...] = (
    "application/octet-stream",
    "application/x-npz",
    "application/x-safetensors",
    "application/json",
)
"""The first is the default."""

LENGTH_HEADER = "Inference-Header-Content-Length"
JSON_VALUES = 2**17
"""The most values JSON gives: at most 4 MB of text."""
_JSON = Format(max_values=JSON_VALUES, bytes_per_value=320)
"""While it is made, a number takes 100 bytes, and one that is alone in its lists up to 300."""

_DATATYPES = {"float32": "FP32", "float16": "FP16", "int8": "INT8"}

DescribeError = Callable[[Exception], Mapping[str, Any]]
"""Turns the error of one image into the object that stands for it."""


def encode(reply: FeatureReply, media_type: MediaType, describe_error: DescribeError) -> Encoded:
    """Lay out a reply.

    Raises:
        ReplyTooLarge: JSON was asked for and some value is infinite or NaN, which JSON cannot say.
    """
    document = describe(reply, describe_error)
    encoded = _ENCODERS[media_type](reply, document)
    headers = {**encoded.headers, "Server-Timing": _server_timing(document["timings_ms"]), **_cache_status(reply)}
    return Encoded(encoded.media_type, encoded.pieces, headers)


def format_of(media_type: MediaType) -> Format:
    """What the engine is to know of the form its answer will take."""
    return _JSON if media_type == "application/json" else Format()


def is_brief(reply: FeatureReply, media_type: MediaType) -> bool:
    """Whether laying it out takes a fraction of a millisecond, less than another thread would: nothing is copied."""
    return media_type in ("application/octet-stream", "application/x-safetensors") and len(reply.images) == 1


def describe(reply: FeatureReply, describe_error: DescribeError) -> dict[str, Any]:
    """Everything but the data, as JSON."""
    return {
        "model": reply.model.model,
        "version": reply.model.version,
        "digest": reply.model.digest,
        "provider": reply.model.provider,
        "precision": reply.model.precision,
        "images": [_image(image, describe_error) for image in reply.images],
        "outputs": [_output(tensor, len(reply.images)) for tensor in reply.tensors],
        "timings_ms": _milliseconds(reply.timings) | {"total": _ms(reply.total)},
    }


def name_of(tensor: Tensor, images: int) -> str:
    """The level, behind the image's index where there are several images."""
    return tensor.level if images == 1 else f"{tensor.image}/{tensor.level}"


def _image(image: ImageReply, describe_error: DescribeError) -> dict[str, Any]:
    known = {"index": image.index, "name": image.name}
    if image.error is not None or image.facts is None:
        return known | {"error": None if image.error is None else dict(describe_error(image.error))}
    facts, geometry = image.facts, image.facts.geometry
    return known | {
        "format": facts.format,
        "orientation": facts.orientation,
        "original": geometry.stored._asdict(),
        "oriented": geometry.oriented._asdict(),
        "network": geometry.network._asdict(),
        "scale": {"x": geometry.scale[0], "y": geometry.scale[1]},
        "padding": {"right": geometry.padding[0], "bottom": geometry.padding[1]},
        "converted_from": facts.converted_from,
        "animated": facts.animated,
        "provider": facts.provider,
        **_boxes(facts),
        **({"cached": True} if image.cached else {}),
        "timings_ms": _milliseconds(image.timings),
    }


def _boxes(facts: ImageFacts) -> dict[str, Any]:
    if facts.regions is None:
        return {}
    return {"boxes": {"count": len(facts.regions), "clipped": list(facts.regions.clipped)}}


def _output(tensor: Tensor, images: int) -> dict[str, Any]:
    return {
        "name": name_of(tensor, images),
        "datatype": _DATATYPES[tensor.array.dtype.name],
        "shape": list(tensor.array.shape),
        "parameters": {"level": tensor.level, "image": tensor.image, "stride": tensor.stride, **_special(tensor)},
    }


def _special(tensor: Tensor) -> dict[str, Any]:
    """What only some tensors have."""
    scale, overflow = tensor.cast.scale, tensor.cast.overflow
    return {
        # Of `assigned`, also when there is no region.
        **({"levels": list(tensor.levels)} if tensor.stride is None else {}),
        **({"scale": scale} if scale is not None else {}),
        **({"overflow": overflow} if overflow else {}),
    }


def _octets(reply: FeatureReply, document: dict[str, Any]) -> Encoded:
    data = [raw(tensor.array) for tensor in reply.tensors]
    for output, piece in zip(document["outputs"], data, strict=True):
        output["parameters"]["binary_data_size"] = len(piece)
    head = _json(document)
    return Encoded("application/octet-stream", [head, *data], {LENGTH_HEADER: str(len(head))})


def _npz(reply: FeatureReply, document: dict[str, Any]) -> Encoded:
    members = {**_arrays(reply), "meta": np.array(_json(document).decode())}
    return Encoded("application/x-npz", tensor_files.npz(members))


def _safetensors(reply: FeatureReply, document: dict[str, Any]) -> Encoded:
    pieces = tensor_files.safetensors(_arrays(reply), {"meta": _json(document).decode()})
    return Encoded("application/x-safetensors", pieces)


def _numbers(reply: FeatureReply, document: dict[str, Any]) -> Encoded:
    for output, tensor in zip(document["outputs"], reply.tensors, strict=True):
        if not math.isfinite(float(tensor.array.sum(dtype=np.float64))):
            message = f"{output['name']} has values that are not finite, which JSON cannot say; ask for "
            raise ReplyTooLarge(message + "application/octet-stream, or for dtype=float32", format_only=True)
        output["data"] = tensor.array.tolist()
    return Encoded("application/json", [_json(document)])


_ENCODERS: Mapping[MediaType, Callable[[FeatureReply, dict[str, Any]], Encoded]] = {
    "application/octet-stream": _octets,
    "application/x-npz": _npz,
    "application/x-safetensors": _safetensors,
    "application/json": _numbers,
}


def _arrays(reply: FeatureReply) -> dict[str, NDArray[Any]]:
    return {name_of(tensor, len(reply.images)): tensor.array for tensor in reply.tensors}


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def _server_timing(stages: Mapping[str, float]) -> str:
    return ", ".join(f"{stage};dur={duration}" for stage, duration in stages.items())


def _cache_status(reply: FeatureReply) -> dict[str, str]:
    """By RFC 9211; nothing where nothing was remembered."""
    whole = reply.cached == len(reply.images)
    return {"Cache-Status": "detco; hit" if whole else "detco; fwd=partial"} if reply.cached else {}


def _milliseconds(timings: Timings) -> dict[str, float]:
    return {stage: _ms(getattr(timings, stage)) for stage in ("decode", "queue", "compute", "encode")}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
