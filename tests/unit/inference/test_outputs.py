"""Pooling, normalising and casting against loops; sizes told before anything is computed."""

import dataclasses
import tracemalloc
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detco_core.contract.manifest import Level, Manifest, read_manifest
from detco_core.inference.numbers import Cast
from detco_core.inference.outputs import finish, gives_as_they_are, l2, needed
from detco_core.inference.pictures.images import Size
from detco_core.inference.pictures.preprocess import Geometry
from detco_core.inference.pooling import generalised_mean, mean
from detco_core.inference.roi import place
from detco_core.inference.selection import Selection
from detco_core.inference.sessions.session import Session, outputs_of
from detco_core.inference.tiny import write_tiny_bundle

EXACT = Geometry(Size(70, 50), Size(70, 50), Size(70, 50), Size(70, 50))
PADDED = Geometry(Size(70, 50), Size(70, 50), Size(70, 50), Size(96, 64))


@pytest.fixture(scope="module")
def manifest(bundle: Path) -> Manifest:
    return read_manifest(bundle)


@pytest.fixture(scope="module")
def maps(bundle: Path, manifest: Manifest) -> dict[str, np.ndarray]:
    image = np.random.default_rng(0).standard_normal((1, 3, 64, 96)).astype(np.float32)
    return Session.open(bundle).run(image, outputs_of(manifest))


def slow_mean(feature: np.ndarray, height: int, width: int) -> np.ndarray:
    out = np.zeros(feature.shape[:2])
    for channel in range(feature.shape[1]):
        cells = [float(feature[0, channel, y, x]) for y in range(height) for x in range(width)]
        out[0, channel] = sum(cells) / len(cells)
    return out


def test_levels_come_in_the_order_asked_for(manifest: Manifest, maps: dict[str, np.ndarray]) -> None:
    selection = Selection(levels=("res4", "res2"))
    assert needed(selection, manifest, EXACT) == ("res4", "res2")
    finished = finish(selection, manifest, EXACT, maps)
    assert [item.level for item in finished] == ["res4", "res2"]
    np.testing.assert_array_equal(finished[1].array, maps["res2"])


@pytest.mark.parametrize("geometry", [EXACT, PADDED])
def test_pooling_is_the_mean_without_padding(
    manifest: Manifest, maps: dict[str, np.ndarray], geometry: Geometry
) -> None:
    selection = Selection(levels=("res3", "res5"), pool="avg")
    outputs = needed(selection, manifest, geometry)
    assert outputs == (("res3", "pooled") if geometry is EXACT else ("res3", "res5"))
    res3, res5 = finish(selection, manifest, geometry, maps)
    np.testing.assert_allclose(res3.array, slow_mean(maps["res3"], 7, 9), rtol=1e-5)
    if geometry is PADDED:
        np.testing.assert_allclose(res5.array, slow_mean(maps["res5"], 2, 3), rtol=1e-5)
    else:
        np.testing.assert_array_equal(res5.array, maps["pooled"])


@pytest.mark.parametrize("geometry", [EXACT, PADDED])
def test_the_generalised_mean_leaves_padding_out_and_can_be_of_length_one(
    manifest: Manifest, maps: dict[str, np.ndarray], geometry: Geometry
) -> None:
    selection = Selection(levels=("res3", "res5"), pool="gem", gem_p=4, normalize="l2", pooled=True)
    mean = "pooled" if geometry is EXACT else "res5"
    assert needed(selection, manifest, geometry) == tuple(dict.fromkeys(("res3", "res5", mean)))
    for item, (level, cells) in zip(
        finish(selection, manifest, geometry, maps), [("res3", (7, 9)), ("res5", (2, 3))], strict=False
    ):
        raised = slow_mean(np.maximum(maps[level], 1e-6).astype(np.float64) ** 4, *cells) ** 0.25
        np.testing.assert_allclose(item.array, raised / np.linalg.norm(raised), rtol=1e-5)


def test_pooled_of_the_network_is_the_mean_of_the_last_level(maps: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(maps["pooled"], slow_mean(maps["res5"], 2, 3), rtol=1e-5)


def test_l2_makes_every_cell_a_unit_vector_and_leaves_zero(maps: dict[str, np.ndarray]) -> None:
    feature = maps["res3"].copy()
    feature[:, :, 0, 0] = 0
    unit = l2(feature)
    assert unit.dtype == np.float32
    for y in range(feature.shape[2]):
        for x in range(feature.shape[3]):
            vector = feature[0, :, y, x].astype(np.float64)
            length = np.sqrt(sum(v * v for v in vector))
            np.testing.assert_allclose(unit[0, :, y, x], vector / max(length, 1e-12), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(l2(maps["pooled"]), axis=1), 1, rtol=1e-6)


def test_half_precision_says_what_it_cannot_hold(manifest: Manifest) -> None:
    feature = np.array([1.5, 65504, 70000, -1e9, np.inf, 0], np.float32).reshape(1, 1, 2, 3)
    (half,) = finish(Selection(dtype="float16"), manifest, EXACT, {"res5": feature})
    assert half.array.dtype == np.float16
    assert half.cast.overflow == 2
    np.testing.assert_array_equal(half.array.ravel(), [1.5, 65504, np.inf, -np.inf, np.inf, 0])
    (single,) = finish(Selection(), manifest, EXACT, {"res5": feature})
    assert single.cast.overflow == 0


@pytest.mark.parametrize(
    "selection",
    [
        Selection(levels=("res2", "res5")),
        Selection(levels=("res4",), pool="avg", pooled=True),
        Selection(levels=("res3",), normalize="l2", dtype="float16"),
        Selection(levels=("res5",), dtype="int8"),
    ],
)
def test_a_network_in_half_precision_is_finished_in_float32(
    selection: Selection, manifest: Manifest, maps: dict[str, np.ndarray]
) -> None:
    half = {name: feature.astype(np.float16) for name, feature in maps.items()}
    wide = {name: feature.astype(np.float32) for name, feature in half.items()}
    regions = place([(3, 3, 50, 40)], PADDED)
    for boxes in (None, regions):
        if boxes is None or not selection.pooled:
            pairs = [finish(selection, manifest, PADDED, found, boxes) for found in (half, wide)]
            for got, expected in zip(*pairs, strict=True):
                assert (got.array.dtype, got.cast) == (expected.array.dtype, expected.cast)
                np.testing.assert_array_equal(got.array, expected.array)


def test_half_precision_asked_of_such_a_network_is_not_copied(manifest: Manifest, maps: dict[str, np.ndarray]) -> None:
    half = {name: feature.astype(np.float16) for name, feature in maps.items()}
    selection = Selection(levels=("res2", "res5"), dtype="float16")
    for item in finish(selection, manifest, PADDED, half):
        assert item.array is half[item.level]
        assert item.cast == Cast()


def test_only_maps_that_stay_as_they_are_cost_nothing_to_finish(
    manifest: Manifest, maps: dict[str, np.ndarray]
) -> None:
    for selection in (Selection(), Selection(levels=("res2", "res4"))):
        assert gives_as_they_are(selection, maps)
        assert all(item.array is maps[item.level] for item in finish(selection, manifest, PADDED, maps))
    worked_on = [Selection(pool="avg"), Selection(normalize="l2"), Selection(dtype="int8"), Selection(pooled=True)]
    assert not any(gives_as_they_are(selection, maps) for selection in worked_on)
    assert not gives_as_they_are(Selection(), maps, place([(0, 0, 10, 10)], PADDED))


@pytest.fixture
def pyramid(manifest: Manifest) -> tuple[Manifest, dict[str, np.ndarray]]:
    """Levels of equal channels, as an FPN's, and maps for an image of 512 x 256."""
    levels = tuple(Level(name=f"p{n}", channels=2, stride=2**n) for n in range(2, 6))
    random = np.random.default_rng(0)
    shapes = {level.name: (1, 2, 256 // level.stride, 512 // level.stride) for level in levels}
    maps = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return dataclasses.replace(manifest, levels=levels, pooled=2), maps


@pytest.mark.parametrize("pool", ["avg", "gem"])
@pytest.mark.parametrize("count", [0, 1, 400])
def test_pooled_regions_take_the_memory_of_their_vectors_and_a_few_grids(
    manifest: Manifest, maps: dict[str, np.ndarray], pool: Literal["avg", "gem"], count: int
) -> None:
    regions = place([(n % 30, 0, 40 + n % 10, 50) for n in range(count)], EXACT)
    few = place([(n % 30, 0, 40 + n % 10, 50) for n in range(min(count, 9))], EXACT)
    selection = Selection(levels=("res5",), pool=pool, roi_size=64)
    (grids,) = finish(dataclasses.replace(selection, pool="none"), manifest, EXACT, maps, few)
    tracemalloc.start()
    try:
        (found,) = finish(selection, manifest, EXACT, maps, regions)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.array.shape == (count, 10)
    vectors = mean(grids.array) if pool == "avg" else generalised_mean(grids.array, selection.gem_p)
    np.testing.assert_allclose(found.array[: len(few)], vectors, rtol=1e-5)
    assert most < 40 * 2**20  # all grids: 62


@pytest.mark.parametrize("pool", ["none", "avg", "gem"])
def test_regions_come_from_the_level_of_their_size(
    pyramid: tuple[Manifest, dict[str, np.ndarray]], pool: Literal["none", "avg", "gem"]
) -> None:
    manifest, maps = pyramid
    size = Size(512, 256)
    geometry = Geometry(size, size, size, size)
    regions = place([(0, 0, 512, 256), (5, 5, 20, 30), (0, 0, 120, 120)], geometry)
    names = ("p2", "p3", "p4", "p5")
    each = finish(Selection(levels=names, pool=pool, roi_size=3), manifest, geometry, maps, regions)
    assert [item.array.shape for item in each] == [(3, 2) if pool != "none" else (3, 2, 3, 3)] * 4
    selection = Selection(levels=names, pool=pool, roi_size=3, roi_levels="assign")
    (found,) = finish(selection, manifest, geometry, maps, regions)
    assert (found.level, found.stride, found.levels) == ("assigned", None, ("p4", "p2", "p3"))
    for number, name in enumerate(found.levels):
        np.testing.assert_array_equal(found.array[number], each[names.index(name)].array[number])
    assert found.array.nbytes == selection.size_of(manifest, geometry, 3)


@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    multiple=st.sampled_from([1, 32]),
    pool=st.sampled_from(["none", "avg", "gem"]),
    dtype=st.sampled_from(["float32", "float16", "int8"]),
    boxes=st.sampled_from([None, 0, 3]),
    levels=st.sets(st.sampled_from(["res2", "res3", "res4", "res5"]), min_size=1),
)
def test_the_size_told_beforehand_is_the_size_that_comes(
    opened: Session,
    width: int,
    height: int,
    multiple: int,
    pool: str,
    dtype: str,
    boxes: int | None,
    levels: set[str],
) -> None:
    size = Size(width, height)
    network = Size(-(-width // multiple) * multiple, -(-height // multiple) * multiple)
    geometry = Geometry(size, size, size, network)
    selection = Selection(levels=tuple(sorted(levels)), pool=pool, dtype=dtype)  # type: ignore[arg-type]  # drawn words
    image = np.zeros((1, 3, network.height, network.width), np.float32)
    regions = None if boxes is None else place([(0, 0, width, height)] * boxes, geometry)
    maps = opened.run(image, needed(selection, opened.manifest, geometry, regions))
    finished = finish(selection, opened.manifest, geometry, maps, regions)
    assert sum(item.array.nbytes for item in finished) == selection.size_of(opened.manifest, geometry, boxes)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("opened")
    write_tiny_bundle(folder)
    return Session.open(folder)
