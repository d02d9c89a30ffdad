"""`examples/served_detector.py` against a served model: it detects, and what is here of it trains."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from detco_core.inference import Backbone
from detco_core.inference.tiny import write_tiny_bundle
from examples.served_detector import LEVELS, make_detector


@pytest.fixture(scope="module")
def token(admin: httpx.Client, house: Any, run: str) -> str:
    assert admin.post("/v1/models/tiny/versions", json={"run": run}).status_code == 202
    house.export(0)
    assert admin.put("/v1/models/tiny/aliases/production", json={"version": 1}).status_code == 200
    client: httpx.Client = house.client("features")
    return client.headers["authorization"].removeprefix("Bearer ")


@pytest.mark.slow
def test_a_detector_stands_on_the_service(house: Any, token: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    detector = make_detector(house.url, token, "tiny", classes=3, side=64)
    write_tiny_bundle(tmp_path, 0)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    picture = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    own = Backbone(tmp_path, providers=["CPUExecutionProvider"]).features(pixels, LEVELS)
    for level, array in detector.backbone._ask(picture[None]).items():
        np.testing.assert_allclose(array, own.tensors[level], atol=1e-4)

    target = {"boxes": torch.tensor([[10.0, 10.0, 50.0, 60.0]]), "labels": torch.tensor([1])}
    losses = detector.train()([picture], [target])
    torch.autograd.backward(list(losses.values()))
    assert all(weight.grad is not None for weight in detector.backbone.pyramid.parameters())
    (found,) = detector.eval()([picture])
    assert set(found) == {"boxes", "labels", "scores"}
    detector.backbone.close()
