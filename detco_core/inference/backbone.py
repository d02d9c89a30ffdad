"""The bundle as a Python object: images in, features out, for people and jobs that need no server."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detco_core.contract.errors import ImageError
from detco_core.contract.features import DType, Normalize, Orientation, Pool, Resize, RoiLevels
from detco_core.contract.manifest import Manifest
from detco_core.inference.execution import Execution, Precision
from detco_core.inference.images import DecodedImage, Limits, Size, decode, from_array
from detco_core.inference.outputs import Selection, finish, needed
from detco_core.inference.preprocess import Geometry, prepare
from detco_core.inference.remote import fetch_bundle
from detco_core.inference.roi import Box, place
from detco_core.inference.session import Session

Picture = bytes | Path | Image.Image | NDArray[np.uint8] | NDArray[np.uint16]
"""An encoded image, the path of one, a Pillow image, or pixels `[H, W]` or `[H, W, C]`, uint8 or uint16."""


class Wishes(TypedDict, total=False):
    """What may be asked of `features` beside images, levels and boxes."""

    pool: Pool
    """`avg` or `gem` for one vector an image (or region) and level."""
    gem_p: float
    """Power of `gem`; 3 when not given."""
    dtype: DType
    """Of the result; values over 65504 become infinite in float16, int8 has a scale."""
    normalize: Normalize
    """`l2` for vectors of length 1."""
    roi_size: int
    """Side of a region's grid."""
    roi_levels: RoiLevels
    """`assign`: each region from the level its size asks for, as in an FPN."""


@dataclass(frozen=True, slots=True)
class FeatureResult:
    """The features of one image, and what is needed to find an image's pixel in them."""

    tensors: dict[str, NDArray[Any]]
    """By level: `[1, C, h, w]`, or `[1, C]` pooled; with K boxes `[K, C, S, S]`, or `[K, C]` pooled."""
    strides: dict[str, int | None]
    """By level: pixels of the network's input per cell; None for regions of several levels."""
    scales: dict[str, float]
    """By level, of int8: what a number stands for."""
    geometry: Geometry
    converted_from: str | None
    """Colour mode of the image when it was not the model's own."""
    levels: tuple[str, ...] = ()
    """Each region's level, with `roi_levels="assign"`."""


class Backbone:
    """An opened bundle. `features` may be called from several threads."""

    def __init__(
        self,
        bundle: Path,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        limits: Limits | None = None,
        precision: Precision = "fp32",
    ) -> None:
        """Open a bundle folder, its digests checked; raises `BundleError`.

        `providers`: onnxruntime's names, best first (None: CUDA where there is a GPU, else the CPU).
        `precision`: on a GPU also `tf32` and `fp16`, which is about a thousandth off and several times faster.
        """
        given = None if providers is None else tuple(providers)
        execution = Execution(providers=given, threads=threads, precision=precision)
        self._session = Session.open(bundle, execution)
        self._limits = limits or Limits()

    @classmethod
    def from_server(
        cls,
        url: str,
        model: str,
        token: str | None = None,
        expect_digest: str | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        limits: Limits | None = None,
        precision: Precision = "fp32",
    ) -> "Backbone":
        """Fetch a model of a service, checked, once, and open it here; arguments as of `fetch_bundle` and `Backbone`.

        Raises:
            BundleError: see there.
        """
        return cls(fetch_bundle(url, model, token, expect_digest), providers, threads, limits, precision)

    @property
    def manifest(self) -> Manifest:
        """Levels, preprocessing, digests and lineage."""
        return self._session.manifest

    @property
    def provider(self) -> str:
        """The onnxruntime provider really obtained."""
        return self._session.provider

    @overload
    def features(
        self,
        image: Picture,
        levels: Sequence[str] | None = None,
        boxes: Sequence[Box] | None = None,
        resize: Resize | None = None,
        orientation: Orientation = "exif",
        **wishes: Unpack[Wishes],
    ) -> FeatureResult: ...

    @overload
    def features(
        self,
        image: list[Picture],
        levels: Sequence[str] | None = None,
        boxes: Sequence[Sequence[Box]] | None = None,
        resize: Resize | None = None,
        orientation: Orientation = "exif",
        **wishes: Unpack[Wishes],
    ) -> list[FeatureResult]: ...

    def features(
        self,
        image: Picture | list[Picture],
        levels: Sequence[str] | None = None,
        boxes: Any = None,
        resize: Resize | None = None,
        orientation: Orientation = "exif",
        **wishes: Unpack[Wishes],
    ) -> FeatureResult | list[FeatureResult]:
        """Features of one image, or of each of a list.

        Args:
            image: see `Picture`; EXIF orientation applies to encoded images and paths.
            levels: names the manifest lists; None: `res5`, or the last there is.
            boxes: `x1, y1, x2, y2` in pixels of the upright image, for the features under each instead of whole maps;
                one list an image where `image` is a list.
            resize: None: the manifest's own.
            orientation: `ignore` to take the pixels as stored.
            wishes: see `Wishes`.

        Raises:
            BundleError: unknown level.
            ImageError: an image cannot be read, is not what the model takes, or a box covers nothing of it.
            ValueError: another number of box lists than of images.
        """
        selection = Selection(levels=None if levels is None else tuple(levels), **wishes)
        if not isinstance(image, list):
            return self._one(image, boxes, selection, resize, orientation)
        lists = [None] * len(image) if boxes is None else boxes
        return [self._one(*pair, selection, resize, orientation) for pair in zip(image, lists, strict=True)]

    def _one(
        self,
        image: Picture,
        boxes: Sequence[Box] | None,
        selection: Selection,
        resize: Resize | None,
        orientation: Orientation,
    ) -> FeatureResult:
        prepared = prepare(self._decoded(image, orientation), self.manifest.input, resize)
        geometry = prepared.geometry
        regions = None if boxes is None else place(boxes, geometry)
        maps = self._session.run(prepared.array, needed(selection, self.manifest, geometry, regions))
        finished = finish(selection, self.manifest, geometry, maps, regions)
        return FeatureResult(
            tensors={item.level: item.array for item in finished},
            strides={item.level: item.stride for item in finished},
            scales={item.level: item.cast.scale for item in finished if item.cast.scale is not None},
            geometry=geometry,
            converted_from=prepared.converted_from,
            levels=finished[0].levels,
        )

    def _decoded(self, image: Picture, orientation: Orientation) -> DecodedImage:
        if isinstance(image, bytes):
            return decode(image, self._limits, orientation)
        if isinstance(image, Path):
            return decode(_read(image), self._limits, orientation)
        if isinstance(image, np.ndarray):
            return from_array(image)
        bits = 16 if image.mode.startswith("I;16") else 32 if image.mode in ("I", "F") else 8
        return DecodedImage(image, image.format or "pixels", Size(*image.size), bits=bits)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError("unreadable", f"{path} cannot be read: {error.strerror}") from error
