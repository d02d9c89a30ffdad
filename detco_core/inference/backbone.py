"""The bundle as a Python object: images in, features out, for people and jobs that need no server."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detco_core.contract.errors import ImageError
from detco_core.contract.manifest import Manifest
from detco_core.inference.images import DecodedImage, Limits, Orientation, Size, decode
from detco_core.inference.outputs import DType, Normalize, Pool, Selection, finish, needed
from detco_core.inference.preprocess import Geometry, Resize, prepare
from detco_core.inference.session import Execution, Session

Picture = bytes | Path | Image.Image | NDArray[np.uint8]
"""An encoded image, the path of one, a Pillow image, or pixels `[H, W]` or `[H, W, C]`, uint8."""


@dataclass(frozen=True, slots=True)
class FeatureResult:
    """The features of one image, and what is needed to find an image's pixel in them."""

    tensors: dict[str, NDArray[Any]]
    """By level: `[1, C, h, w]`, or `[1, C]` pooled."""
    strides: dict[str, int]
    """By level: pixels of the network's input per cell."""
    geometry: Geometry
    converted_from: str | None
    """Colour mode of the image when it was not the model's own."""


class Backbone:
    """An opened bundle. `features` may be called from several threads."""

    def __init__(self, session: Session, limits: Limits) -> None:
        self._session = session
        self._limits = limits

    @classmethod
    def open(
        cls,
        bundle: Path,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        limits: Limits | None = None,
    ) -> "Backbone":
        """Open a bundle folder, its digests checked; raises `BundleError`.

        `providers`: onnxruntime's names, best first (None: CUDA where there is a GPU, else the CPU).
        """
        execution = Execution(providers=None if providers is None else tuple(providers), threads=threads)
        return cls(Session.open(bundle, execution), limits or Limits())

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
        pool: Pool = "none",
        dtype: DType = "float32",
        resize: Resize | None = None,
        normalize: Normalize = "none",
        orientation: Orientation = "exif",
    ) -> FeatureResult: ...

    @overload
    def features(
        self,
        image: list[Picture],
        levels: Sequence[str] | None = None,
        pool: Pool = "none",
        dtype: DType = "float32",
        resize: Resize | None = None,
        normalize: Normalize = "none",
        orientation: Orientation = "exif",
    ) -> list[FeatureResult]: ...

    def features(
        self,
        image: Picture | list[Picture],
        levels: Sequence[str] | None = None,
        pool: Pool = "none",
        dtype: DType = "float32",
        resize: Resize | None = None,
        normalize: Normalize = "none",
        orientation: Orientation = "exif",
    ) -> FeatureResult | list[FeatureResult]:
        """Features of one image, or of each of a list.

        Args:
            image: see `Picture`; EXIF orientation applies to encoded images and paths.
            levels: names the manifest lists; None: `res5`, or the last there is.
            pool: `avg` for one vector an image and level.
            dtype: of the result; values over 65504 become infinite in float16.
            resize: None: the manifest's own.
            normalize: `l2` for vectors of length 1.
            orientation: `ignore` to take the pixels as stored.

        Raises:
            BundleError: unknown level.
            ImageError: an image cannot be read, or is not what the model takes.
        """
        names = None if levels is None else tuple(levels)
        selection = Selection(levels=names, pool=pool, dtype=dtype, normalize=normalize)
        if isinstance(image, list):
            return [self._one(item, selection, resize, orientation) for item in image]
        return self._one(image, selection, resize, orientation)

    def _one(
        self, image: Picture, selection: Selection, resize: Resize | None, orientation: Orientation
    ) -> FeatureResult:
        prepared = prepare(self._decoded(image, orientation), self.manifest.input, resize)
        maps = self._session.run(prepared.array, needed(selection, self.manifest, prepared.geometry))
        finished = finish(selection, self.manifest, prepared.geometry, maps)
        return FeatureResult(
            {item.level.name: item.array for item in finished},
            {item.level.name: item.level.stride for item in finished},
            prepared.geometry,
            prepared.converted_from,
        )

    def _decoded(self, image: Picture, orientation: Orientation) -> DecodedImage:
        if isinstance(image, bytes):
            return decode(image, self._limits, orientation)
        if isinstance(image, Path):
            return decode(_read(image), self._limits, orientation)
        picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        bits = 16 if picture.mode.startswith("I;16") else 32 if picture.mode in ("I", "F") else 8
        return DecodedImage(picture, picture.format or "pixels", Size(*picture.size), bits=bits)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError("unreadable", f"{path} cannot be read: {error.strerror}") from error
