"""InfoNCE against its formula written out in loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from detco_core.method.losses import info_nce

Floats = NDArray[np.float64]


def slow_info_nce(query: Floats, positive: Floats, negatives: Floats, t: float) -> tuple[float, Floats]:
    """Loss and its gradient with respect to the queries, one image and one negative at a time."""
    loss, gradient = 0.0, np.zeros_like(query)
    for n in range(len(query)):
        rivals = [positive[n], *negatives]
        logits = [sum(query[n, d] * rival[d] for d in range(len(rival))) / t for rival in rivals]
        highest = max(logits)
        total = sum(math.exp(logit - highest) for logit in logits)
        loss -= logits[0] - highest - math.log(total)
        for place, (rival, logit) in enumerate(zip(rivals, logits, strict=True)):
            share = math.exp(logit - highest) / total
            gradient[n] += (share - (place == 0)) * rival / t
    return loss / len(query), gradient / len(query)


def unit(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(shape, generator=generator, dtype=torch.float64), dim=-1)


@given(
    st.integers(1, 5), st.integers(1, 8), st.integers(1, 12), st.sampled_from([0.07, 0.2, 1.0]), st.integers(0, 2**32)
)
@settings(max_examples=40, deadline=None)
def test_value_and_gradient_equal_the_formula(n: int, dim: int, queue: int, t: float, seed: int) -> None:
    query, positive, negatives = (unit(k, dim, seed=seed + i) for i, k in enumerate((n, n, queue)))
    query.requires_grad_()
    loss = info_nce(query, positive, negatives, t).loss
    (found,) = torch.autograd.grad(loss, query)
    expected, gradient = slow_info_nce(query.detach().numpy(), positive.numpy(), negatives.numpy(), t)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(found.numpy(), gradient, rtol=1e-9, atol=1e-12)


def test_gradient_by_finite_differences() -> None:
    query, positive, negatives = unit(3, 6).requires_grad_(), unit(3, 6, seed=1), unit(10, 6, seed=2)
    assert torch.autograd.gradcheck(lambda q: info_nce(q, positive, negatives, 0.2).loss, (query,))


def test_chance_level_is_the_logarithm_of_the_rivals() -> None:
    same = torch.ones(4, 1)
    assert info_nce(same, same, torch.ones(65536, 1), 0.2).loss.item() == pytest.approx(math.log(65537), rel=1e-6)


def test_stays_exact_when_the_positive_leads_by_far() -> None:
    query = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    loss = info_nce(query, query, -query, 0.02).loss
    assert loss.item() == pytest.approx(math.exp(-100), rel=1e-9)


def test_says_how_the_contrast_goes() -> None:
    query = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    positive = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    negatives = torch.tensor([[0.0, 1.0], [0.6, 0.8]])
    contrast = info_nce(query, positive, negatives, 0.2)
    assert contrast.accuracy.item() == 0.5  # the first is nearest to its positive, the second is not
    assert contrast.positive_similarity.item() == pytest.approx(0.5)
    assert contrast.negative_similarity.item() == pytest.approx((0.0 + 0.6 + 1.0 + 0.8) / 4)
    assert not any(value.requires_grad for value in contrast[1:])


def test_is_computed_in_full_precision_under_autocast() -> None:
    query, positive, negatives = (unit(k, 32, seed=k).float() for k in (4, 4, 64))
    plain = info_nce(query, positive, negatives, 0.2)
    with torch.autocast("cpu", torch.bfloat16):
        cast = info_nce(query, positive, negatives, 0.2)
    assert torch.equal(plain.loss, cast.loss)


def test_negatives_and_positives_take_no_part_of_each_other() -> None:
    """The order of the queue is of no account; the pairing of the rows is."""
    query, positive, negatives = unit(4, 8), unit(4, 8, seed=1), unit(9, 8, seed=2)
    loss = info_nce(query, positive, negatives, 0.2).loss
    assert torch.allclose(loss, info_nce(query, positive, negatives.flip(0), 0.2).loss)
    assert not torch.allclose(loss, info_nce(query, positive.flip(0), negatives, 0.2).loss)
