"""The bundle as a Python object: every way to hand in an image gives the same numbers."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

from detco_core.contract.errors import BundleError, ImageError
from detco_core.contract.features import ResizeExact
from detco_core.contract.manifest import InputSpec
from detco_core.inference import Backbone
from detco_core.inference.pictures.given import Picture
from detco_core.inference.pictures.images import Limits
from detco_core.inference.roi import place, roi_align
from detco_core.inference.tiny import write_tiny_bundle

Photo = Callable[..., Image.Image]
Encoded = Callable[..., bytes]


@pytest.fixture(scope="module")
def backbone(bundle: Path) -> Backbone:
    return Backbone(bundle, providers=["CPUExecutionProvider"], threads=1)


def test_bytes_path_picture_and_array_are_one(
    backbone: Backbone, photo: Photo, encoded: Encoded, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(encoded(photo()))
    data = encoded(photo())
    ways: list[Picture] = [
        data,
        bytearray(data),
        memoryview(data),
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        photo(),
    ]
    ways += [np.asarray(photo())]
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


def test_boxes_of_one_image_or_of_each(backbone: Backbone, photo: Photo) -> None:
    boxes = [(3.0, 4.0, 60.0, 50.0), (-9.0, 0.0, 97.0, 61.0)]
    names = ["res3", "res5"]
    one = backbone.features(photo(), names, boxes, roi_size=2)
    whole = backbone.features(photo(), names)
    assert {name: array.shape for name, array in one.tensors.items()} == {"res3": (2, 6, 2, 2), "res5": (2, 10, 2, 2)}
    expected = roi_align(whole.tensors["res3"], place(boxes, whole.geometry), 8, 2)
    np.testing.assert_array_equal(one.tensors["res3"], expected)
    several = backbone.features([photo(), photo()], names, [boxes, []], dtype="int8", pool="avg")
    assert [result.tensors["res5"].shape for result in several] == [(2, 10), (0, 10)]
    found = several[0].tensors["res5"] * several[0].scales["res5"]
    np.testing.assert_allclose(
        found,
        roi_align(whole.tensors["res5"], place(boxes, whole.geometry), 32, 7).mean((2, 3)),
        atol=several[0].scales["res5"],
    )
    with pytest.raises(ValueError, match="2 images and boxes for 1"):
        backbone.features((photo(), photo()), names, [boxes])


@pytest.mark.parametrize("bits", [8, 16])
def test_channels_no_picture_has_come_as_arrays(tmp_path: Path, bits: Literal[8, 16]) -> None:
    spec = InputSpec(channels=5, color="raw", bit_depth=bits, mean=(0.5,) * 5, std=(0.25,) * 5)
    write_tiny_bundle(tmp_path, 0, spec)
    array = np.random.default_rng(0).integers(0, 2**bits, (40, 70, 5), f"uint{bits}")
    image = ((array.astype(np.float64) / (2**bits - 1) - 0.5) / 0.25).transpose(2, 0, 1)[None].astype(np.float32)
    bare = ort.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (expected,) = bare.run(["res4"], {"image": image})
    backbone = Backbone(tmp_path, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(backbone.features(array, ["res4"]).tensors["res4"], expected, atol=1e-3)
    smaller = backbone.features(array, ["res4"], resize=ResizeExact(height=20, width=35))
    assert smaller.tensors["res4"].shape == (1, 8, 2, 3)
    with pytest.raises(ImageError, match="5 channels as they are, the image has 4 channels"):
        backbone.features(array[..., :4])


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
        Backbone(bundle, limits=Limits(pixels=10)).features(encoded(photo()))
    with pytest.raises(ImageError, match="image 1: boxes are a list"):
        backbone.features([photo(), photo()], boxes=[[(0.0, 0.0, 9.0, 9.0)], (0.0, 0.0, 9.0, 9.0)])  # type: ignore[list-item]  # wrong on purpose
    with pytest.raises(BundleError, match="no precision 'half'"):
        Backbone(bundle, precision="half")  # type: ignore[arg-type]  # wrong on purpose


def test_it_may_be_sent_to_another_process(bundle: Path, photo: Photo, encoded: Encoded) -> None:
    own = Backbone(str(bundle), "CPUExecutionProvider", threads=1, limits=Limits(pixels=10_000))
    sent = pickle.loads(pickle.dumps(own))  # noqa: S301 - our own
    found = sent.features(photo()).tensors["res5"]
    np.testing.assert_array_equal(found, own.features(photo()).tensors["res5"])
    with pytest.raises(ImageError, match="at most 10000 pixels"):
        sent.features(encoded(photo(200, 200)))


def test_levels_and_resize_are_taken_as_a_request_says_them(backbone: Backbone, photo: Photo) -> None:
    found = backbone.features(photo(), levels="res3, res5", resize={"short_side": 32})
    assert {level: tensor.shape[2:] for level, tensor in found.tensors.items()} == {"res3": (4, 7), "res5": (1, 2)}


def test_a_precision_of_gpus_is_refused_on_a_cpu(bundle: Path) -> None:
    with pytest.raises(BundleError, match="fp16 is for GPUs"):
        Backbone(bundle, providers=["CPUExecutionProvider"], precision="fp16")
