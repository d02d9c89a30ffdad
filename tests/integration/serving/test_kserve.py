"""KServe's own clients, unchanged, against `/v2` and gRPC; in their own environment, for they pin another uvicorn."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.environments import OutOfReach, environment
from benchmarks.machine import ROOT
from benchmarks.serving.service import MODEL
from detco_core.inference import Backbone
from detco_core.inference.tiny import write_tiny_bundle
from tests.integration.serving.conftest import Door

HERE = Path(__file__).parent / "kserve"


@pytest.fixture(scope="module")
def kserve() -> Path:
    """The Python of an environment with the clients; made once, in seconds, and kept beside `.venv`."""
    try:
        return environment(ROOT / ".venv-kserve", HERE / "requirements.txt") / "bin/python"
    except OutOfReach as error:
        pytest.skip(f"KServe's clients cannot be fetched here: {error}")


@pytest.fixture(scope="module")
def seen(kserve: Path, door: Door, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `calls.py` saw, and its arrays."""
    folder = tmp_path_factory.mktemp("kserve")
    (folder / "picture.png").write_bytes(door.good)
    token = door.client.headers["authorization"].removeprefix("Bearer ")
    words = [str(door.client.base_url).rstrip("/"), door.grpc, token, MODEL, str(folder / "picture.png")]
    command = [str(kserve), str(HERE / "calls.py"), *words, str(folder / "out.npz")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "out.npz") as arrays:
        return json.loads(done.stdout), dict(arrays)


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = tmp_path_factory.mktemp("direct")
    write_tiny_bundle(folder, 0)
    return Backbone(folder, providers=["CPUExecutionProvider"])


def test_it_finds_server_and_models(seen: Any) -> None:
    found, _ = seen
    flags = ("live", "ready", "model_ready", "tensor_ready", "other_ready")
    assert [found[flag] for flag in flags] == [True, True, True, True, False]
    assert (found["id"], found["name"]) == ("mine", MODEL)


def test_pictures_give_what_the_backbone_gives(seen: Any, door: Door, direct: Backbone) -> None:
    _, arrays = seen
    for level in ("res2", "res3", "res4", "res5"):
        np.testing.assert_allclose(
            arrays[level], direct.features(door.good, [level]).tensors[level], rtol=1e-5, atol=1e-6
        )
    np.testing.assert_allclose(arrays["base64"], arrays["res5"], rtol=1e-5, atol=1e-6)
    assert arrays["half"].dtype == np.float16
    np.testing.assert_allclose(arrays["half"], arrays["res5"], rtol=2e-3, atol=1e-3)


def test_pixels_go_as_bytes_and_as_json(seen: Any, direct: Backbone) -> None:
    _, arrays = seen
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 50, 70), np.uint8)[0].transpose(1, 2, 0)
    expected = direct.features(np.ascontiguousarray(pixels), ["res5"]).tensors["res5"]
    for name in ("binary", "json"):
        np.testing.assert_allclose(arrays[name], expected, rtol=1e-5, atol=1e-5)


def test_errors_are_shown_in_our_words(seen: Any) -> None:
    found, _ = seen
    assert "no image" in found["errors"][0]
    assert "no alias other@production" in found["errors"][1]


def test_over_grpc_it_finds_server_and_models(seen: Any) -> None:
    found = seen[0]["grpc"]
    flags = ("live", "ready", f"{MODEL}_ready", f"{MODEL}_tensor_ready", "other_ready")
    assert [found[flag] for flag in flags] == [True, True, True, True, False]
    assert (found["id"], found["name"], found["version"]) == ("mine", f"{MODEL}", "1")
    assert found["health"] == ["SERVING", "SERVING", "NOT_FOUND"]


def test_over_grpc_raw_and_typed_contents_give_what_the_backbone_gives(seen: Any, door: Door, direct: Backbone) -> None:
    _, arrays = seen
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 50, 70), np.uint8)[0].transpose(1, 2, 0)
    for name, image in (("", door.good), ("pixels/", np.ascontiguousarray(pixels))):
        expected = direct.features(image, ["res2", "res5"]).tensors
        for contents in ("raw", "typed"):
            for level, tensor in expected.items():
                np.testing.assert_allclose(arrays[f"grpc/{contents}/{name}{level}"], tensor, rtol=1e-5, atol=1e-5)
    assert arrays["grpc/half"].dtype == np.float16
    np.testing.assert_allclose(arrays["grpc/half"], arrays["grpc/raw/res5"], rtol=2e-3, atol=1e-3)


def test_over_grpc_errors_have_their_status_and_our_words(seen: Any) -> None:
    (junk, words), (other, why) = seen[0]["grpc"]["errors"]
    assert (junk, other) == ("INVALID_ARGUMENT", "NOT_FOUND")
    assert "no image" in words
    assert "no alias other@production" in why
