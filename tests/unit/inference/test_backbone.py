"""The bundle as a Python object: every way to hand in an image gives the same numbers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

from detco_core.contract.errors import BundleError, ImageError
from detco_core.inference import Backbone
from detco_core.inference.backbone import Picture
from detco_core.inference.images import Limits
from detco_core.inference.preprocess import ResizeExact

Photo = Callable[..., Image.Image]
Encoded = Callable[..., bytes]


@pytest.fixture(scope="module")
def backbone(bundle: Path) -> Backbone:
    return Backbone.open(bundle, providers=["CPUExecutionProvider"], threads=1)


def test_bytes_path_picture_and_array_are_one(
    backbone: Backbone, photo: Photo, encoded: Encoded, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(encoded(photo()))
    ways: list[Picture] = [encoded(photo()), tmp_path / "a.png", photo(), np.asarray(photo())]
    results = backbone.features(ways)
    for result in results:
        np.testing.assert_array_equal(result.tensors["res5"], results[0].tensors["res5"])
    assert results[0].tensors["res5"].shape == (1, 10, 2, 4)
    assert results[0].strides == {"res5": 32}


def test_it_is_normalise_then_onnxruntime(backbone: Backbone, bundle: Path, photo: Photo) -> None:
    spec = backbone.manifest.input
    pixels = np.asarray(photo().resize((64, 48), Image.Resampling.BILINEAR), np.float64) / 255
    image = ((pixels - spec.mean) / spec.std).transpose(2, 0, 1)[None].astype(np.float32)
    bare = ort.InferenceSession(str(bundle / "model.onnx"), providers=["CPUExecutionProvider"])
    names = ["res2", "res3", "res4", "res5"]
    expected = bare.run(names, {"image": image})
    result = backbone.features(photo(), levels=names, resize=ResizeExact(height=48, width=64))
    for name, array in zip(names, expected, strict=True):
        np.testing.assert_allclose(result.tensors[name], array, atol=1e-4)
    assert list(result.tensors) == names
    assert result.geometry.scale == (64 / 97, 48 / 61)


def test_a_grey_array_is_converted_and_said(backbone: Backbone, photo: Photo) -> None:
    grey = np.asarray(photo().convert("L"))
    result = backbone.features(grey, pool="avg", dtype="float16", normalize="l2")
    assert result.converted_from == "L"
    assert result.tensors["res5"].dtype == np.float16
    assert np.linalg.norm(result.tensors["res5"].astype(np.float32)) == pytest.approx(1, abs=1e-2)


def test_errors_name_the_thing(
    backbone: Backbone, tmp_path: Path, photo: Photo, encoded: Encoded, bundle: Path
) -> None:
    with pytest.raises(BundleError, match="res2, res3"):
        backbone.features(photo(), levels=["c5"])
    with pytest.raises(ImageError, match="nowhere"):
        backbone.features(tmp_path / "nowhere.png")
    with pytest.raises(ImageError, match="bits"):
        backbone.features(np.zeros((4, 4), np.uint16))
    with pytest.raises(ImageError, match="pixels"):
        Backbone.open(bundle, limits=Limits(pixels=10)).features(encoded(photo()))
