"""The bundle as a Python object: images in, features out, for people and jobs that need no server."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack, get_args, overload

from numpy.typing import NDArray

from detco_core.contract.errors import BundleError, ImageError
from detco_core.contract.features import Orientation, Resize
from detco_core.contract.manifest import Manifest
from detco_core.inference.outputs import finish, needed
from detco_core.inference.pictures.given import Picture, open_picture
from detco_core.inference.pictures.images import Limits
from detco_core.inference.pictures.preprocess import Geometry, prepare
from detco_core.inference.remote import fetch_bundle
from detco_core.inference.roi import Box, place
from detco_core.inference.selection import Selection
from detco_core.inference.sessions.execution import Execution, Precision
from detco_core.inference.sessions.session import Session
from detco_core.inference.wishes import Look, Wishes, read_look, read_selection


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
    """An opened bundle. `features` may be called from several threads.

    Pickled, it is the folder's path and opens it again where it arrives, as in a loader's process.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str],
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        limits: Limits | None = None,
        precision: Precision = "fp32",
    ) -> None:
        """Open a bundle folder, its digests checked; raises `BundleError`.

        `providers`: onnxruntime's names, best first (None: CUDA where there is a GPU, else the CPU).
        `precision`: on a GPU also `tf32` and `fp16`, which is about a thousandth off and several times faster.
        """
        given = (providers,) if isinstance(providers, str) else None if providers is None else tuple(providers)
        if precision not in get_args(Precision):
            raise BundleError(f"there is no precision {precision!r}: it is one of {', '.join(get_args(Precision))}")
        execution = Execution(providers=given, threads=threads, precision=precision)
        self._opened = (given, threads, limits, precision)
        self._session = Session.open(Path(bundle), execution)
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
        resize: Resize | Mapping[str, int] | None = None,
        orientation: Orientation = "exif",
        **wishes: Unpack[Wishes],
    ) -> FeatureResult: ...

    @overload
    def features(
        self,
        image: list[Picture] | tuple[Picture, ...],
        levels: Sequence[str] | None = None,
        boxes: Sequence[Sequence[Box]] | None = None,
        resize: Resize | Mapping[str, int] | None = None,
        orientation: Orientation = "exif",
        **wishes: Unpack[Wishes],
    ) -> list[FeatureResult]: ...

    def features(
        self,
        image: Picture | list[Picture] | tuple[Picture, ...],
        levels: Sequence[str] | None = None,
        boxes: Any = None,
        resize: Resize | Mapping[str, int] | None = None,
        orientation: Orientation = "exif",
        **wishes: Unpack[Wishes],
    ) -> FeatureResult | list[FeatureResult]:
        """Features of one image, or of each of a list; the images of a list may differ in size.

        Args:
            image: see `Picture`; EXIF orientation applies to encoded images and paths.
            levels: names the manifest lists, or one text of them with commas; None: `res5`, or the last there is.
            boxes: `x1, y1, x2, y2` in pixels of the upright image, for the features under each instead of whole maps;
                one list an image where `image` is a list.
            resize: a `ResizeShortSide` or a `ResizeExact`, or a mapping of their fields, or `none`; None: the
                manifest's own.
            orientation: `ignore` to take the pixels as stored.
            wishes: see `Wishes`.

        Raises:
            BundleError: unknown level.
            InvalidDocument: a wish or a way of resizing that is not known.
            ImageError: an image cannot be read, is not what the model takes, or a box covers nothing of it; of a list,
                `image N` is named.
            ValueError: another number of box lists than of images.
        """
        selection = read_selection(levels, dict(wishes), has_boxes=boxes is not None)
        look = read_look(resize, orientation)
        if not isinstance(image, list | tuple):
            return self._one(image, boxes, selection, look)
        lists = [None] * len(image) if boxes is None else boxes
        if len(lists) != len(image):
            raise ValueError(f"{len(image)} images and boxes for {len(lists)}: give one list of boxes an image")
        return [self._nth(*found, selection, look) for found in enumerate(zip(image, lists, strict=True))]

    def _nth(
        self, index: int, found: tuple[Picture, Sequence[Box] | None], selection: Selection, look: Look
    ) -> FeatureResult:
        try:
            return self._one(*found, selection, look)
        except ImageError as error:
            raise ImageError(error.code, f"image {index}: {error}") from error

    def _one(
        self,
        image: Picture,
        boxes: Sequence[Box] | None,
        selection: Selection,
        look: Look,
    ) -> FeatureResult:
        picture = open_picture(image, self._limits, look.orientation, self.manifest.input)
        prepared = prepare(picture, self.manifest.input, look.resize)
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

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._session.bundle, *self._opened)
