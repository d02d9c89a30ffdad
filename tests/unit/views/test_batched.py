"""Normalising on the device against NumPy in float64."""

import numpy as np
import pytest
import torch

from detco_core.contract.config import ViewsConfig
from detco_core.views.batched import normalise

MEAN, STD = ViewsConfig().statistics


@pytest.mark.parametrize("shape", [(3, 8, 9), (2, 3, 8, 9), (2, 9, 3, 4, 4)])
def test_normalise_equals_numpy(shape: tuple[int, ...]) -> None:
    x = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (MEAN, STD))
    expected = (x.numpy().astype(np.float64) / 255 - mean) / std
    before = x.clone()
    found = normalise(x, MEAN, STD)
    assert found.dtype == torch.float32
    assert found.shape == shape
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)
    assert torch.equal(x, before)
    floats = x.to(torch.float32)
    assert torch.equal(normalise(floats, MEAN, STD), found)
    assert torch.equal(floats, before.to(torch.float32))


def test_other_constants_give_other_numbers() -> None:
    x = torch.full((1, 1, 1), 255, dtype=torch.uint8)
    assert normalise(x, (0.5,), (0.5,)).item() == pytest.approx(1.0)
    assert normalise(x, (0.0,), (0.25,)).item() == pytest.approx(4.0)
