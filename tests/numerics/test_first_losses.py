"""The first step on photos with the published queue: every term where its arithmetic puts it.

At random initialisation a head maps two views to nearly the same direction, so against a random queue g2g and l2l start
at about ln K + 0.1 - 1 / t; l2g compares two different random heads and starts at chance, about 11.2. The 0.1 is
1 / (2 D t^2): the mean of exp(q.k / t) over random directions in D dimensions. (mind: D 128, K 65,536, t 0.2)
"""

import math
from pathlib import Path

import pytest
import torch

from detco_core.contract.config import override
from detco_core.contract.presets import preset
from detco_core.data.images import open_image
from detco_core.method.catalog import make_method
from detco_core.method.detco import Contrasts
from detco_core.views.batched import normalise
from detco_core.views.pipeline import ViewPipeline, Views, sample_rng

BATCH, QUEUE, DIM, T = 16, 65536, 128, 0.2


@pytest.fixture(scope="module")
def first_step(photos: Path) -> Contrasts:
    config = override(preset("smoke"), {"method.queue_size": QUEUE})
    pipeline = ViewPipeline(config.views, local=True)
    paths = sorted(photos.iterdir())[:BATCH]
    samples = [pipeline(open_image(path), sample_rng(0, 0, n)) for n, path in enumerate(paths)]
    stacked = [torch.stack([sample[part] for sample in samples]) for part in range(4)]  # type: ignore[misc]  # local=True
    views = Views(*(normalise(part, *config.views.statistics) for part in stacked))
    torch.manual_seed(0)
    with torch.no_grad():
        output: Contrasts = make_method(config)(views)
    return output


@pytest.mark.slow
def test_every_term_is_where_its_positive_puts_it(first_step: Contrasts) -> None:
    rivals = QUEUE * math.exp(1 / (2 * DIM * T**2))
    for name, term in first_step.terms.items():
        positive = term.positive_similarity.item() / T
        expected = math.log(rivals + math.exp(positive)) - positive
        assert term.loss.item() == pytest.approx(expected, abs=0.1), name


@pytest.mark.slow
def test_views_of_one_head_are_alike_and_those_of_two_are_not(first_step: Contrasts) -> None:
    for name, term in first_step.terms.items():
        low, high = {"g2g": (6.1, 8.0), "l2l": (6.1, 9.5), "l2g": (10.0, 12.5)}[name.split("/")[0]]
        assert low < term.loss.item() < high, name


@pytest.mark.slow
def test_the_sum_is_in_the_fifties(first_step: Contrasts) -> None:
    assert 50 < first_step.loss.item() < 57
