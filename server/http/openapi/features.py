"""What the OpenAPI document says of `POST /features`, whose bodies FastAPI cannot see: raw images in, tensors out."""

from typing import Any

from server.features.replies.encode import LENGTH_HEADER, MEDIA_TYPES
from server.http.uploads.images import MULTIPART, RAW_TYPES

_BINARY = {"type": "string", "format": "binary"}
_PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    "model": ({"type": "string"}, "`name@alias`, `name:version`, or `name` for its alias `production`"),
    "expect_digest": ({"type": "string"}, "Weights digest relied on; 412 before any compute when it is another"),
    "levels": (
        {"type": "string", "example": "res4,res5"},
        "Comma-separated, of those the manifest lists; default `res5`, or the last",
    ),
    "pool": (
        {"enum": ["none", "avg", "gem"], "default": "none"},
        "One vector an image and level: the mean, or with `gem` the generalised mean",
    ),
    "gem_p": ({"type": "number", "minimum": 1, "maximum": 100, "default": 3}, "Power of `pool=gem`"),
    "dtype": (
        {"enum": ["float32", "float16", "int8"], "default": "float32"},
        "Of the answer; an `int8` tensor's values are its numbers times its `scale`",
    ),
    "normalize": ({"enum": ["none", "l2"], "default": "none"}, "Every vector to length 1"),
    "boxes": (
        {"type": "string", "example": "[[10, 20, 110, 220]]"},
        "JSON list of `[x1, y1, x2, y2]` in pixels of the upright image: ROI-align of each, in place of whole maps",
    ),
    "roi_size": (
        {"type": "integer", "minimum": 1, "maximum": 64, "default": 7},
        "Side of a region's grid: aligned ROI-align of two samples a cell along each side",
    ),
    "roi_levels": (
        {"enum": ["each", "assign"], "default": "each"},
        "Every region from each level, or from the one its size asks for, as in an FPN",
    ),
    "resize": (
        {"type": "string", "example": '{"short_side": 800, "max_side": 1333}'},
        "JSON: `{short_side, max_side}` or `{height, width}`; or `none`; default as the model's manifest says",
    ),
    "orientation": ({"enum": ["exif", "ignore"], "default": "exif"}, "Whether the EXIF orientation applies"),
    "timeout_ms": ({"type": "integer", "default": 30000}, "Milliseconds until 504, from when the body is read"),
    "priority": (
        {"enum": ["interactive", "bulk"], "default": "interactive"},
        "`bulk` is let in only when there is room to spare, and gives its place to interactive requests (429)",
    ),
}
_FORM = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "image": {"type": "array", "items": _BINARY},
        "request": {
            "type": "string",
            "description": "The parameters as JSON; `levels` a list, `resize` an object, `boxes` one list an image",
        },
    },
}

FEATURES: dict[str, Any] = {
    "openapi_extra": {
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": schema, "description": text}
            for name, (schema, text) in _PARAMETERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": _BINARY} for kind in RAW_TYPES} | {MULTIPART: {"schema": _FORM}},
        },
    },
    "responses": {
        200: {
            "description": "The features; an image that could not be used has an `error` in its place",
            "content": {kind: {"schema": _BINARY} for kind in MEDIA_TYPES},
            "headers": {
                "Content-Encoding": {
                    "description": "`zstd` where `Accept-Encoding` names it and no other",
                    "schema": {"type": "string"},
                },
                LENGTH_HEADER: {
                    "description": "Bytes of JSON before the tensors of `application/octet-stream`",
                    "schema": {"type": "integer"},
                },
            },
        }
    },
}
"""Keyword arguments of the route's decorator."""
