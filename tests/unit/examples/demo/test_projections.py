import math

import numpy as np
import pytest

from examples.demo.projections import pca_rgb, similarity


def test_similarity_is_the_cosine_about_the_mean() -> None:
    rng = np.random.default_rng(0)
    features = rng.random((5, 3, 4)).astype(np.float32)
    found = similarity(features, (0.6, 0.4))
    cells = [[features[:, y, x] / np.linalg.norm(features[:, y, x]) for x in range(4)] for y in range(3)]
    mean = sum(cell for row in cells for cell in row) / 12
    point = cells[1][2] - mean
    for y in range(3):
        for x in range(4):
            other = cells[y][x] - mean
            cosine = float(point @ other) / math.sqrt(float(point @ point) * float(other @ other))
            assert found[y, x] == pytest.approx(cosine, abs=1e-6)
    assert found[1, 2] == pytest.approx(1)


@pytest.mark.parametrize("point", [(0.0, 0.0), (1.0, 1.0)])
def test_a_point_at_the_edge_is_in_the_map(point: tuple[float, float]) -> None:
    features = np.random.default_rng(1).random((5, 3, 4))
    assert similarity(features, point).max() == pytest.approx(1)


def test_places_alike_have_one_color_and_others_another() -> None:
    directions = np.eye(4)[:, [0, 1, 2]]
    kinds = np.array([[0, 0, 1, 1, 2, 2]] * 6)
    rng = np.random.default_rng(0)
    features = directions[:, kinds] * rng.uniform(1, 9, kinds.shape)
    colors = pca_rgb(features)
    assert colors.shape == (6, 6, 3)
    assert colors.min() >= 0
    assert colors.max() <= 1
    for kind in range(3):
        assert np.ptp(colors[kinds == kind], axis=0).max() < 1e-9
    means = [colors[kinds == kind].mean(0) for kind in range(3)]
    assert min(np.abs(means[a] - means[b]).max() for a, b in ((0, 1), (0, 2), (1, 2))) > 0.3


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 5), (3, 2, 2), (2, 8, 8)])
def test_small_maps_have_colors_too(shape: tuple[int, int, int]) -> None:
    assert np.isfinite(pca_rgb(np.ones(shape))).all()
    assert np.isfinite(pca_rgb(np.zeros(shape))).all()
    assert np.isfinite(similarity(np.zeros(shape), (0.5, 0.5))).all()
