"""One feature server for all tests of this folder, a process of its own, and what must hold after each of them."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.serving.service import MODEL, service
from detco_core.contract.manifest import InputSpec
from detco_core.inference.tiny import write_tiny_bundle
from tests.migrated import open_migrated

DEEP = InputSpec(bit_depth=16)
"""Of version 2 of the model."""
BANDS = InputSpec(channels=5, mean=(0.5,) * 5, std=(0.2,) * 5, color="raw", bit_depth=16)
"""Of version 3."""
LENGTH = "Inference-Header-Content-Length"
SIDE = 48
"""Of the picture that is good."""


class Door:
    """The server as a caller sees it."""

    def __init__(self, client: httpx.Client, grpc: str = "") -> None:
        self.client = client
        self.grpc = grpc
        """Its other door's address."""
        self.good = png(noise(SIDE, SIDE))
        self.expected = self.tensors(self.features(self.good))["res5"]

    def features(self, image: bytes, kind: str = "image/png", **query: Any) -> httpx.Response:
        """One picture as the raw body; objects of the query as JSON."""
        words = {key: value if isinstance(value, str) else json.dumps(value) for key, value in query.items()}
        return self.client.post("/features", params=words, content=image, headers={"Content-Type": kind})

    def infer(self, body: bytes, name: str = MODEL, **headers: str) -> httpx.Response:
        return self.client.post(f"/v2/models/{name}/infer", content=body, headers=headers)

    def document(self, answer: httpx.Response) -> Any:
        """The JSON of an answer that is one."""
        assert answer.status_code == 200, answer.text
        return json.loads(answer.content[: int(answer.headers[LENGTH])])

    def tensors(self, answer: httpx.Response) -> dict[str, NDArray[np.float32]]:
        """Float32 tensors by name."""
        at = int(answer.headers[LENGTH])
        found = {}
        for output in self.document(answer)["outputs"]:
            size = output["parameters"]["binary_data_size"]
            found[output["name"]] = np.frombuffer(answer.content[at : at + size], "<f4").reshape(output["shape"])
            at += size
        return found

    def refused(self, answer: httpx.Response, status: int, code: str) -> Any:
        """The problem document of a refusal; it is short, whatever was sent."""
        assert answer.headers["content-type"] == "application/problem+json", answer.text[:500]
        document = answer.json()
        assert (answer.status_code, document["code"]) == (status, code), answer.text[:500]
        assert len(answer.content) < 2000
        return document


def noise(width: int, height: int, channels: int = 3) -> NDArray[np.uint8]:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(width).integers(0, 256, shape, np.uint8)


def png(pixels: NDArray[Any], **options: Any) -> bytes:
    return saved(Image.fromarray(pixels), "PNG", **options)


def saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Runs pictures that come together as one batch, since that is where one could harm another."""
    root = tmp_path_factory.mktemp("door")
    write_tiny_bundle(root / "bundle", 0)
    write_tiny_bundle(root / "deep", 1, DEEP)
    write_tiny_bundle(root / "bands", 2, BANDS)
    (root / "data").mkdir()
    open_migrated(f"sqlite:///{root / 'data' / 'detco.sqlite3'}").dispose()
    batches = {"batch_images": "8", "batch_wait_ms": "20", "max_request_bytes": str(2**20), "grpc_port": "0"}
    with service(
        root / "data", [root / "bundle", root / "deep", root / "bands"], "--only", "features", **batches
    ) as started:
        yield Door(started.client, started.grpc())


@pytest.fixture(autouse=True)
def _as_before(door: Door) -> Iterator[None]:
    """After each hostile request the server lives, is ready, and gives a good picture what it gave it at first."""
    yield
    assert door.client.get("/livez").status_code == 200
    np.testing.assert_array_equal(door.tensors(door.features(door.good))["res5"], door.expected)


@pytest.fixture(scope="module", autouse=True)
def _ready_in_the_end(door: Door) -> Iterator[None]:
    yield
    assert door.client.get("/readyz/features").status_code == 200


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.slow)
