"""A network with a feature pyramid: its levels are what the manifest says, all the way to a person's features."""

from pathlib import Path

import numpy as np
import pytest

from detco_core.contract.manifest import InputSpec, Manifest
from detco_core.inference.backbone import Backbone
from detco_core.inference.sessions.execution import CPU, Execution
from detco_core.inference.sessions.half import halved
from detco_core.inference.sessions.opening import start
from detco_core.inference.sessions.session import Session, outputs_of
from detco_core.inference.tiny import CHANNELS, WIDTH, write_tiny_bundle, write_tiny_pyramid

LEVELS = ("p2", "p3", "p4", "p5", "p6")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pyramid")


@pytest.fixture(scope="module")
def manifest(folder: Path) -> Manifest:
    return write_tiny_pyramid(folder)


@pytest.fixture(scope="module")
def backbone(folder: Path, manifest: Manifest) -> Backbone:
    return Backbone(folder, providers=[CPU], threads=1)


def photo(width: int = 70, height: int = 50) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_equal_seeds_give_equal_networks_and_others_do_not(tmp_path: Path) -> None:
    for write in (write_tiny_bundle, write_tiny_pyramid):
        first, same, other = (write(tmp_path / str(n), seed=seed) for n, seed in enumerate((1, 1, 2)))
        assert first == same
        assert first.weights_digest != other.weights_digest


def test_every_level_has_its_stride_and_padding_is_to_a_multiple(backbone: Backbone) -> None:
    result = backbone.features(photo(), levels=LEVELS)
    assert result.geometry.network == (96, 64)
    assert result.strides == {"p2": 4, "p3": 8, "p4": 16, "p5": 32, "p6": 64}
    assert {level: array.shape for level, array in result.tensors.items()} == {
        "p2": (1, WIDTH, 16, 24),
        "p3": (1, WIDTH, 8, 12),
        "p4": (1, WIDTH, 4, 6),
        "p5": (1, WIDTH, 2, 3),
        "p6": (1, WIDTH, 1, 2),
    }


def test_the_levels_are_added_from_the_top_down(folder: Path, manifest: Manifest, tmp_path: Path) -> None:
    """Against the same sum in NumPy, of the maps of the network below."""
    write_tiny_bundle(tmp_path)
    image = np.random.default_rng(0).standard_normal((1, 3, 64, 96)).astype(np.float32)
    below = Session.open(tmp_path, Execution(providers=(CPU,))).run(image, ("res2", "res3", "res4", "res5"))
    found = Session.open(folder, Execution(providers=(CPU,))).run(image, LEVELS)
    random = np.random.default_rng(1)
    weights = [random.standard_normal((WIDTH, channels, 1, 1), np.float32)[..., 0, 0] for channels in CHANNELS]
    lateral = [np.einsum("oc,nchw->nohw", w, below[f"res{n}"]) for n, w in enumerate(weights, start=2)]
    expected = [lateral[3]]
    for side in reversed(lateral[:3]):
        expected.insert(0, side + expected[0].repeat(2, axis=2).repeat(2, axis=3))
    for level, array in zip(LEVELS, [*expected, lateral[3][:, :, ::2, ::2]], strict=True):
        np.testing.assert_allclose(found[level], array, rtol=1e-4, atol=1e-4)


def test_a_level_alone_is_computed_by_a_smaller_graph_where_that_is_worth_it(folder: Path, manifest: Manifest) -> None:
    session = Session.open(folder, Execution(providers=(CPU,), threads=1))
    image = np.random.default_rng(0).standard_normal((1, 3, 64, 96)).astype(np.float32)
    together = session.run(image, outputs_of(manifest))
    for level in LEVELS:
        np.testing.assert_array_equal(session.run(image, (level,))[level], together[level])
    assert [output.name for output in session._bound_for(("p6",), image.shape).session.get_outputs()] == ["p5", "p6"]


def test_the_default_is_the_last_level_and_boxes_find_theirs(backbone: Backbone) -> None:
    assert list(backbone.features(photo()).tensors) == ["p6"]
    assert backbone.features(photo(), levels=("p3",), pool="avg").tensors["p3"].shape == (1, WIDTH)
    boxes = [(1, 2, 30, 40), (0, 0, 700, 500)]
    found = backbone.features(photo(800, 600), LEVELS[:4], boxes, roi_levels="assign", roi_size=3)
    assert (found.levels, found.tensors["assigned"].shape) == (("p2", "p5"), (2, WIDTH, 3, 3))
    alone = backbone.features(photo(800, 600), ["p5"], boxes[1:], roi_size=3)
    np.testing.assert_array_equal(found.tensors["assigned"][1], alone.tensors["p5"][0])


def test_names_and_strides_are_whatever_the_manifest_says(tmp_path: Path) -> None:
    manifest = write_tiny_pyramid(tmp_path, spec=InputSpec(multiple=64))
    assert Backbone(tmp_path, providers=[CPU]).features(photo(), levels=("p6",)).geometry.network == (128, 64)
    assert [level.name for level in manifest.levels] == list(LEVELS)


def test_it_has_a_half_precision(folder: Path, manifest: Manifest) -> None:
    model = (folder / "model.onnx").read_bytes()
    image = np.random.default_rng(0).standard_normal((1, 3, 64, 96)).astype(np.float32)
    whole, half = (
        start(data, Execution(providers=(CPU,), threads=1)).run(list(LEVELS), {"image": image})
        for data in (model, halved(model))
    )
    for expected, found in zip(whole, half, strict=True):
        assert np.abs(found - expected).max() / np.abs(expected).max() < 5e-3
