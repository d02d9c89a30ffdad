"""A backbone brought from a served service and run here: `detco_core.inference.remote` against the real routes."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from detco_core.contract.errors import BundleError
from detco_core.inference import Backbone
from detco_core.inference.remote import fetch_bundle
from detco_core.inference.tiny import write_tiny_bundle


@pytest.fixture(scope="module")
def token(admin: httpx.Client, house: Any, run: str) -> str:
    assert admin.post("/v1/models/tiny/versions", json={"run": run}).status_code == 202
    house.export(0)
    assert admin.put("/v1/models/tiny/aliases/production", json={"version": 1}).status_code == 200
    client: httpx.Client = house.client("read")
    return client.headers["authorization"].removeprefix("Bearer ")


def test_it_is_the_service_s_backbone(house: Any, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETCO_TOKEN", token)
    monkeypatch.setenv("DETCO_CACHE", str(tmp_path / "cache"))
    manifest = write_tiny_bundle(tmp_path / "own", 0)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    own = Backbone(tmp_path / "own", providers=["CPUExecutionProvider"]).features(pixels)
    for name in ("tiny", "tiny@production", "tiny:1"):
        theirs = Backbone.from_server(
            house.url, name, expect_digest=manifest.weights_digest, providers=["CPUExecutionProvider"]
        )
        np.testing.assert_array_equal(theirs.features(pixels).tensors["res5"], own.tensors["res5"])
    (kept,) = (tmp_path / "cache" / "bundles").iterdir()
    assert sorted(file.name for file in kept.iterdir()) == ["manifest.json", "model.onnx"]


def test_what_is_kept_is_not_fetched_again_unless_it_is_damaged(house: Any, token: str, tmp_path: Path) -> None:
    folder = fetch_bundle(house.url, "tiny", token, folder=tmp_path)
    first = (folder / "model.onnx").stat().st_ino
    assert fetch_bundle(house.url, "tiny", token, folder=tmp_path) == folder
    assert (folder / "model.onnx").stat().st_ino == first
    (folder / "model.onnx").write_bytes(b"changed")
    with pytest.raises(BundleError, match="damaged or another file"):
        Backbone(folder)
    assert Backbone(fetch_bundle(house.url, "tiny", token, folder=tmp_path)).manifest.levels


@pytest.mark.parametrize(
    ("model", "word"),
    [("other", "404"), ("tiny@nowhere", "404"), ("tiny:9", "404"), ("tiny:x", "a version is a number")],
)
def test_what_there_is_not_is_named(house: Any, token: str, tmp_path: Path, model: str, word: str) -> None:
    with pytest.raises(BundleError, match=word):
        fetch_bundle(house.url, model, token, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_other_weights_a_wrong_token_and_no_service(house: Any, token: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="expected were sha256:0"):
        fetch_bundle(house.url, "tiny", token, "sha256:0", tmp_path)
    with pytest.raises(BundleError, match="401"):
        fetch_bundle(house.url, "tiny", "wrong", folder=tmp_path)
    with pytest.raises(BundleError, match="does not answer"):
        fetch_bundle("http://127.0.0.1:1", "tiny", token, folder=tmp_path)
    with pytest.raises(BundleError, match="no http"):
        fetch_bundle("file:///etc", "tiny", token, folder=tmp_path)
