"""`examples/served_detector.py` against a served model: it detects, and what is here of it trains."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime as ort
import pytest
import torch
from PIL import Image

from detco_client import DetcoClient
from detco_core.inference.tiny import write_tiny_bundle
from examples.served_detector import LEVELS, main, make_detector


@pytest.fixture(scope="module")
def client(admin: httpx.Client, house: Any, run: str) -> Iterator[DetcoClient]:
    """Of a service whose model `tiny` has two versions, the first in production."""
    for seed in (0, 1):
        house.add_version(admin, "tiny", run, seed)
    assert admin.put("/v1/models/tiny/aliases/production", json={"version": 1}).status_code == 200
    token = house.client("features", "read").headers["authorization"].removeprefix("Bearer ")
    with DetcoClient(house.url, token) as made:
        yield made


def picture(height: int, width: int) -> torch.Tensor:
    pixels = np.random.default_rng(width).integers(0, 256, (3, height, width), np.uint8)
    return torch.from_numpy(pixels) / 255


@pytest.mark.slow
def test_a_detector_stands_on_the_service(client: DetcoClient) -> None:
    torch.manual_seed(0)
    detector = make_detector(client, "tiny", classes=3, side=64)
    target = {"boxes": torch.tensor([[10.0, 10.0, 50.0, 60.0]]), "labels": torch.tensor([1])}
    losses = detector.train()([picture(64, 96)], [target])
    torch.autograd.backward(list(losses.values()))
    assert all(weight.grad is not None for weight in detector.backbone.pyramid.parameters())
    (found,) = detector.eval()([picture(64, 96)])
    assert set(found) == {"boxes", "labels", "scores"}


@pytest.mark.slow
def test_it_runs_as_its_first_lines_say(
    client: DetcoClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DETCO_URL", client.url)
    monkeypatch.setenv("DETCO_TOKEN", str(client._transport.http.headers["authorization"]).removeprefix("Bearer "))
    Image.new("L", (96, 64), 90).save(tmp_path / "photo.png")
    main(["tiny", str(tmp_path / "photo.png")], side=64)
    assert "boxes from heads that were never trained" in capsys.readouterr().out


@pytest.mark.slow
def test_its_levels_are_the_networks_padding_included_and_stay_those_of_one_version(
    client: DetcoClient, admin: httpx.Client, tmp_path: Path
) -> None:
    detector = make_detector(client, "tiny", classes=3, side=64).eval()
    detector.backbone.pyramid = torch.nn.Identity()
    batch = detector.transform([picture(64, 96), picture(64, 70)])[0].tensors
    assert batch.shape == (2, 3, 64, 96)
    # What a detector normalises and then pads with zeros, as the bare network is given it: but for whole pixel values.
    spec = write_tiny_bundle(tmp_path, 0).input
    mean, std = (torch.tensor(values)[:, None, None] for values in (spec.mean, spec.std))
    whole = (255 * (batch + mean)).round() / 255 - mean
    assert (whole - batch).abs().max() <= 0.5 / 255 + 1e-6
    bare = ort.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    expected = bare.run(list(LEVELS), {"image": (whole / std).numpy()})
    for number in (1, 2):
        assert admin.put("/v1/models/tiny/aliases/production", json={"version": number}).status_code == 200
        maps = detector.backbone(batch)
        assert list(maps) == ["0", "1", "2", "3"]
        for found, wanted in zip(maps.values(), expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-4)
