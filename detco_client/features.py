"""Features of images: encoded pictures in, NumPy arrays by level out."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from detco_client.errors import BadReply, ClientError
from detco_client.tensors import LENGTH_HEADER, Tensor, parse
from detco_client.transport import Transport

Image = bytes | str | Path | NDArray[np.uint8] | NDArray[np.uint16]
"""The bytes of an encoded picture, the path of a file, or pixels `[H, W]` or `[H, W, C]`, sent as they are."""
_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png", b"RIFF": "image/webp", b"II*\0": "image/tiff"}
_TYPES |= {b"MM\0*": "image/tiff", b"\x93NUMPY": "application/x-npy"}
_LONGEST_QUERY = 2000
"""Characters of all parameters. Proxies bound an address, servers too; a form has room for a thousand boxes."""


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """The features of one image."""

    levels: dict[str, NDArray[Any]]
    """By level: `[1, C, H, W]`, or `[1, C]` pooled; with K boxes `[K, C, S, S]`, or `[K, C]` pooled; empty when the
    image failed."""
    geometry: dict[str, Any]
    """Original, oriented and network size, scale and padding, as the service reports them."""
    strides: dict[str, int]
    """Pixels of the network input between two cells of a level; 0 for regions of several levels."""
    scales: dict[str, float] = field(default_factory=dict)
    """By level, of int8: a number stands for itself times this."""
    error: dict[str, Any] | None = None
    """The problem document of an image that could not be used; its neighbours are unharmed."""


@dataclass(frozen=True, slots=True)
class FeaturesReply:
    """The features of all images of a request, in their order, and what made them."""

    images: tuple[ImageFeatures, ...]
    meta: dict[str, Any] = field(repr=False)
    """The reply's JSON: model, version, weights digest, provider, timings, ..."""


class Features:
    """`client.features(...)`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __call__(
        self, images: Image | Sequence[Image], *, compressed: bool = False, **parameters: Any
    ) -> FeaturesReply:
        """Ask for the features of one or several pictures.

        Args:
            images: bytes or paths, which the service decodes, or arrays.
            compressed: have the answer travel in Zstandard, for lines slower than about 1 Gbit/s; needs the package
                `zstandard`.
            parameters: `model`, `levels`, `boxes`, `roi_size`, `pool`, `gem_p`, `dtype`, `resize`, `normalize`,
                `orientation`, `expect_digest`, `timeout_ms`, ... as the API takes them; lists and mappings are passed
                as such.

        Raises:
            Refused: when no image could be used, or a parameter is wrong.
            Busy: when the service stays full.
        """
        asked = {key: value for key, value in parameters.items() if value is not None}
        headers = _wanted(compressed=compressed)
        if isinstance(images, bytes | str | Path | np.ndarray):
            return _read(self._one(_content(images), asked, headers))
        if not images:
            raise ClientError("no image was given")
        return _read(self._many(images, asked, headers))

    def _one(self, picture: bytes, asked: Mapping[str, Any], headers: Mapping[str, str]) -> httpx.Response:
        params = {key: _query(value) for key, value in asked.items()}
        if sum(map(len, params.values())) > _LONGEST_QUERY:
            return self._many([picture], asked, headers)
        headers = {"Content-Type": _media_type(picture), **headers}
        return self._transport.send("POST", "/v1/features", content=picture, params=params, headers=headers)

    def _many(self, images: Sequence[Image], asked: Mapping[str, Any], headers: Mapping[str, str]) -> httpx.Response:
        files = [("image", _part(index, image)) for index, image in enumerate(images)]
        levels = asked.get("levels")
        document = {**asked, "levels": levels.split(",")} if isinstance(levels, str) else asked
        request = ("request", (None, json.dumps(document), "application/json"))
        return self._transport.send("POST", "/v1/features", files=[*files, request], headers=headers)


def _wanted(*, compressed: bool) -> dict[str, str]:
    """How the answer shall come: a service compresses for who takes nothing else."""
    accept = {"Accept": "application/octet-stream"}
    if not compressed:
        return accept
    if find_spec("zstandard") is None:  # what httpx unpacks it with
        raise ClientError("compressed answers need the package zstandard: install it, or ask without compressed=True")
    return {**accept, "Accept-Encoding": "zstd"}


def _read(response: httpx.Response) -> FeaturesReply:
    meta, tensors = parse(response.content, response.headers.get(LENGTH_HEADER))
    described = meta.get("images")
    if not isinstance(described, list) or not all(isinstance(image, dict) for image in described):
        raise BadReply("the reply does not describe its images")
    images = tuple(_image(index, image, tensors) for index, image in enumerate(described))
    return FeaturesReply(images, meta)


def _image(index: int, described: dict[str, Any], tensors: Sequence[Tensor]) -> ImageFeatures:
    own = {
        str(tensor.parameters.get("level", tensor.name)): tensor
        for tensor in tensors
        if tensor.parameters.get("image", 0) == index
    }
    strides = {level: int(tensor.parameters.get("stride") or 0) for level, tensor in own.items()}
    geometry = {key: value for key, value in described.items() if key != "error"}
    scales = {level: float(t.parameters["scale"]) for level, t in own.items() if "scale" in t.parameters}
    arrays = {level: tensor.array for level, tensor in own.items()}
    return ImageFeatures(arrays, geometry, strides, scales, described.get("error"))


def _part(index: int, image: Image) -> tuple[str, bytes, str]:
    data = _content(image)
    name = Path(image).name if isinstance(image, str | Path) else str(index)
    return name, data, _media_type(data)


def _content(image: Image) -> bytes:
    if isinstance(image, bytes):
        return image
    if isinstance(image, np.ndarray):
        return _npy(image)
    if not isinstance(image, str | Path):
        raise ClientError(f"{type(image).__name__} is no image: give a file's bytes, a path, or an array of pixels")
    try:
        return Path(image).read_bytes()
    except OSError as error:
        raise ClientError(f"cannot read {image}: {error.strerror}") from error


def _npy(pixels: NDArray[Any]) -> bytes:
    if pixels.dtype.hasobject:
        raise ClientError("object arrays are not sent: give pixels of uint8 or uint16")
    file = io.BytesIO()
    np.save(file, pixels, allow_pickle=False)
    return file.getvalue()


def _media_type(picture: bytes) -> str:
    kinds = (kind for magic, kind in _TYPES.items() if picture.startswith(magic))
    return next(kinds, "application/octet-stream")


def _query(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    return json.dumps(value)
