"""Votes of nearest neighbours, against loops written out, and the properties they must have."""

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from detco_core.evaluation import votes as module
from detco_core.evaluation.frozen import Features
from detco_core.evaluation.votes import count_votes, hits


def unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.linalg.norm(values, axis=1, keepdims=True)
    return values / lengths


def blobs(seed: int, n: int, classes: int, width: int = 8) -> Features:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    centres = np.random.default_rng(99).normal(size=(classes, width))
    return Features(unit((centres[labels] + random.normal(size=(n, width))).astype(np.float32)), labels)


def slow_ranking(train: Features, query: NDArray[np.float32], k: int, temperature: float) -> list[int]:
    """Classes by votes, best first; only those with a neighbour."""
    near = []
    for place, (value, label) in enumerate(zip(train.values, train.labels, strict=True)):
        cosine = sum(float(a) * float(b) for a, b in zip(value, query, strict=True))
        near.append((-cosine, int(label), place))
    tally: defaultdict[int, float] = defaultdict(float)
    for minus_cosine, label, _ in sorted(near)[:k]:
        tally[label] += math.exp(-minus_cosine / temperature)
    return sorted(tally, key=lambda label: (-tally[label], label))


@pytest.mark.parametrize("k", [1, 5, 20, 60])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
@pytest.mark.parametrize("classes", [2, 9])
def test_hits_equal_the_slow_reference(k: int, temperature: float, classes: int) -> None:
    train, val = blobs(1, 60, classes), blobs(2, 40, classes)
    votes = count_votes(train, val.values, classes, k, temperature)
    rankings = [slow_ranking(train, query, k, temperature) for query in val.values]
    for top in (1, 2, 5):
        expected = [int(label) in ranking[:top] for label, ranking in zip(val.labels, rankings, strict=True)]
        assert hits(votes, val.labels, top).tolist() == expected


def test_votes_are_softmax_weights_of_the_neighbours() -> None:
    train = Features(unit(np.array([[1, 0], [0, 1], [1, 1]], np.float32)), np.array([0, 1, 1]))
    votes = count_votes(train, np.array([[1, 0]], np.float32), classes=3, k=3, temperature=0.5)
    np.testing.assert_allclose(votes, [[1, math.exp(-1 / 0.5) + math.exp((math.sqrt(0.5) - 1) / 0.5), 0]], rtol=1e-6)


@given(seed=st.integers(0, 10**6), k=st.integers(1, 30))
def test_the_order_of_the_training_images_does_not_matter(seed: int, k: int) -> None:
    train, val = blobs(seed, 30, 4), blobs(seed + 1, 20, 4)
    order = np.random.default_rng(seed).permutation(30)
    mixed = Features(train.values[order], train.labels[order])
    first, second = (count_votes(t, val.values, 4, k, 0.07) for t in (train, mixed))
    np.testing.assert_allclose(first, second, rtol=1e-4)


@given(seed=st.integers(0, 10**6))
def test_renaming_the_classes_renames_the_votes(seed: int) -> None:
    train, val = blobs(seed, 30, 4), blobs(seed + 1, 20, 4)
    names = np.random.default_rng(seed).permutation(4)
    renamed = count_votes(Features(train.values, names[train.labels]), val.values, 4, 7, 0.1)
    np.testing.assert_allclose(renamed[:, names], count_votes(train, val.values, 4, 7, 0.1), rtol=1e-4)


def test_equal_similarities_are_settled_by_class_whatever_the_order() -> None:
    same = np.ones((6, 1), np.float32)
    for labels in ([2, 1, 0, 2, 1, 0], [0, 0, 1, 1, 2, 2], [2, 2, 1, 1, 0, 0]):
        votes = count_votes(Features(same, np.array(labels)), same[:1], classes=3, k=3, temperature=0.07)
        assert votes.tolist() == [[2, 1, 0]]


def test_equal_votes_go_to_the_lower_class_and_no_vote_is_never_a_hit() -> None:
    votes = np.array([[0.0, 1.0, 1.0, 0.0]] * 4)
    labels = np.array([0, 1, 2, 3])
    assert hits(votes, labels, 1).tolist() == [False, True, False, False]
    assert hits(votes, labels, 2).tolist() == [False, True, True, False]
    assert hits(votes, labels, 5).tolist() == [False, True, True, False]


def test_a_tiny_temperature_does_not_overflow() -> None:
    train, val = blobs(3, 30, 3), blobs(4, 10, 3)
    votes = count_votes(train, val.values, 3, 10, 1e-5)
    assert np.isfinite(votes).all()
    nearest = train.labels[np.argmax(val.values @ train.values.T, axis=1)]
    assert votes.argmax(axis=1).tolist() == nearest.tolist()


def test_chunks_do_not_change_the_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    train, val = blobs(5, 50, 3), blobs(6, 33, 3)
    whole = count_votes(train, val.values, 3, 9, 0.07)
    monkeypatch.setattr(module, "_CHUNK", 200)
    np.testing.assert_allclose(count_votes(train, val.values, 3, 9, 0.07), whole, rtol=1e-4)


def test_separated_classes_are_told_apart_and_labels_at_random_are_not() -> None:
    train, val = blobs(7, 300, 5, width=64), blobs(8, 200, 5, width=64)
    votes = count_votes(train, val.values, 5, 20, 0.07)
    assert hits(votes, val.labels, 1).mean() > 0.95
    shuffled = Features(train.values, np.random.default_rng(0).permutation(train.labels))
    assert hits(count_votes(shuffled, val.values, 5, 20, 0.07), val.labels, 1).mean() < 0.4
